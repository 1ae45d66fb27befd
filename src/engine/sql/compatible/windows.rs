//! Windows with a name, and those that extend them: `OVER (w ORDER BY x)`, `WINDOW z AS (w ORDER BY x)`.
//!
//! Source: PostgreSQL 15, `transformWindowDefinitions` in parse_clause.c.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, Query, Select, SetExpr,
    WindowSpec, WindowType,
};

use crate::engine::sql::compatible::build::each_outside_subqueries;
use crate::engine::sql::words::fold;
use crate::error::{Error, Result, Subject};

/// The windows of a SELECT so far, by their names.
type Windows = [(String, WindowSpec)];

/// As [`write_out_windows`], in a query's ORDER BY as well.
pub(super) fn write_out_windows_in_query(query: &mut Query) -> Result<()> {
    let Query { body, order_by, .. } = query;
    match body.as_mut() {
        SetExpr::Select(select) => write_out(select, order_by),
        _ => Ok(()),
    }
}

/// Writes windows out where they are named: DataFusion forgets the window that another one extends.
pub(super) fn write_out_windows(select: &mut Select) -> Result<()> {
    write_out(select, &mut None)
}

fn write_out(select: &mut Select, order: &mut Option<OrderBy>) -> Result<()> {
    let mut windows: Vec<(String, WindowSpec)> = vec![];
    for NamedWindowDefinition(name, definition) in std::mem::take(&mut select.named_window) {
        let NamedWindowExpr::WindowSpec(mut window) = definition else { continue };
        let name = fold(&name);
        if windows.iter().any(|(other, _)| *other == name) {
            return Err(refused(format!("window \"{name}\" is already defined")));
        }
        extend(&mut window, &windows)?;
        windows.push((name, window));
    }
    let mut done = Ok(());
    let mut work = |expr: &mut Expr| {
        if let Expr::Function(Function { over: Some(over), .. }) = expr
            && done.is_ok()
        {
            done = resolve(over, &windows);
        }
    };
    each_outside_subqueries(select, &mut work);
    each_outside_subqueries(order, &mut work);
    done
}

fn resolve(over: &mut WindowType, windows: &Windows) -> Result<()> {
    match over {
        WindowType::NamedWindow(name) => *over = WindowType::WindowSpec(find(name, windows)?.clone()),
        WindowType::WindowSpec(window) => extend(window, windows)?,
    }
    Ok(())
}

fn find<'a>(name: &Ident, windows: &'a Windows) -> Result<&'a WindowSpec> {
    let name = fold(name);
    let found = windows.iter().find(|(window, _)| *window == name);
    found.map(|(_, window)| window).ok_or_else(|| {
        let known = windows.iter().map(|(window, _)| window.as_str());
        let message = format!("window \"{name}\" does not exist");
        Error::not_found(Subject::Option, message).with_suggestion(&name, known)
    })
}

/// Gives a window the partitions and the order of the one that it extends, which has no frame.
fn extend(window: &mut WindowSpec, windows: &Windows) -> Result<()> {
    let Some(name) = window.window_name.take() else { return Ok(()) };
    let base = find(&name, windows)?;
    let name = fold(&name);
    if !window.partition_by.is_empty() {
        return Err(refused(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !window.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(refused(format!("cannot override ORDER BY clause of window \"{name}\"")));
    }
    if base.window_frame.is_some() {
        let error = refused(format!("cannot copy window \"{name}\" because it has a frame clause"));
        let is_copy = window.order_by.is_empty() && window.window_frame.is_none();
        return Err(if is_copy {
            error.with_hint("omit the parentheses in this OVER clause")
        } else {
            error
        });
    }
    window.partition_by = base.partition_by.clone();
    if window.order_by.is_empty() {
        window.order_by = base.order_by.clone();
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::input(Subject::Syntax, message)
}
