//! Schemas before names that have none, as the search path finds them.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectType, Query,
    TableFactor, Value, VisitMut, VisitorMut, With,
};

use crate::engine::sql::command::{CommandStatement, Commented};
use crate::engine::sql::copy::Copy;
use crate::engine::sql::role::{Granted, RoleStatement};
use crate::engine::sql::session::SessionStatement;
use crate::engine::sql::statement::{Body, Statement};
use crate::engine::sql::train::{HolidaysClause, Relation, TrainStatement};
use crate::engine::sql::words::{fold, last_word};
use crate::engine::storage::split_name;
use crate::error::{Error, Result, Subject, identifier};

/// Where names without a schema belong.
pub struct SearchPath<'a> {
    /// The schema of the relation of this name; none where the name is to stay as it is.
    pub find: &'a dyn Fn(&str) -> Option<String>,
    /// The schema that new things come into.
    pub current: Option<&'a str>,
}

impl SearchPath<'_> {
    /// Writes their schemas before all names in a statement that have none.
    pub fn qualify(&self, statement: &mut Statement) -> Result<()> {
        self.body(&mut statement.body)?;
        statement.trains.iter_mut().for_each(|train| self.train(Arc::make_mut(train)));
        Ok(())
    }

    /// The same in a TRAIN.
    pub fn train(&self, train: &mut TrainStatement) {
        let calendar = train.holidays.as_mut().and_then(HolidaysClause::table_mut);
        for relation in std::iter::once(&mut train.relation).chain(calendar) {
            if let Relation::Table(name) = relation {
                self.existing(name);
            }
        }
        train.visit(&mut self.visitor());
    }

    fn visitor(&self) -> Qualify<'_> {
        Qualify { path: self, hidden: vec![], withs: vec![], is_function: false }
    }

    /// Writes its schema before the name of something that exists.
    pub fn existing(&self, name: &mut ObjectName) {
        if let [part] = name.0.as_slice()
            && let Some(schema) = part.as_ident().and_then(|ident| (self.find)(&fold(ident)))
        {
            put_before(name, &schema);
        }
    }

    fn created(&self, name: &mut ObjectName) -> Result<()> {
        if name.0.len() != 1 {
            return Ok(());
        }
        let current = self.current.ok_or_else(|| {
            Error::not_found(Subject::Schema, "no schema has been selected to create in")
                .with_hint("write the schema before the name, or SET search_path to one that exists")
        })?;
        put_before(name, current);
        Ok(())
    }

    fn body(&self, body: &mut Body) -> Result<()> {
        match body {
            Body::Sql(statement) => self.sql(statement),
            Body::Command(command) => self.command(command),
            Body::Prepare { body, .. } => self.body(body),
            Body::Session(statement) => {
                if let SessionStatement::Declare { query, .. } = statement.as_mut() {
                    let _ = query.visit(&mut self.visitor());
                }
                Ok(())
            }
        }
    }

    fn sql(&self, statement: &mut DfStatement) -> Result<()> {
        match statement {
            DfStatement::Statement(inner) => self.statement(inner),
            DfStatement::Explain(explain) => self.sql(&mut explain.statement),
            DfStatement::CreateExternalTable(table) => self.created(&mut table.name),
            _ => Ok(()),
        }
    }

    fn statement(&self, statement: &mut ast::Statement) -> Result<()> {
        match statement {
            // No path leads to a temporary table.
            ast::Statement::CreateTable(table) if table.temporary => {
                let name = std::mem::replace(&mut table.name, ObjectName(vec![]));
                let _ = table.visit(&mut self.visitor());
                table.name = name;
                return Ok(());
            }
            ast::Statement::CreateTable(table) => self.created(&mut table.name)?,
            ast::Statement::CreateView(view) => self.created(&mut view.name)?,
            ast::Statement::Drop {
                object_type: ObjectType::Table | ObjectType::View | ObjectType::Index,
                names,
                ..
            } => names.iter_mut().for_each(|name| self.existing(name)),
            _ => {}
        }
        let _ = statement.visit(&mut self.visitor());
        Ok(())
    }

    fn command(&self, command: &mut CommandStatement) -> Result<()> {
        match command {
            CommandStatement::AlterTable { name, .. }
            | CommandStatement::Optimize { table: name, .. }
            | CommandStatement::Copy(Copy::From { table: name, .. })
            | CommandStatement::Comment {
                on: Commented::Table(name) | Commented::Column(name, _) | Commented::Constraint(name, _),
                ..
            } => self.existing(name),
            CommandStatement::Copy(copy @ Copy::To { .. }) => {
                let _ = copy.visit_query(&mut self.visitor());
            }
            CommandStatement::CreateSequence { name, .. } => self.created(name)?,
            CommandStatement::DropSequences { names, .. }
            | CommandStatement::Vacuum { tables: names, .. }
            | CommandStatement::Analyze { tables: names }
            | CommandStatement::Role(
                RoleStatement::Grant { on: Granted::Tables(names) | Granted::Sequences(names), .. }
                | RoleStatement::Owner { of: Granted::Tables(names), .. },
            ) => names.iter_mut().for_each(|name| self.existing(name)),
            _ => {}
        }
        Ok(())
    }
}

fn put_before(name: &mut ObjectName, schema: &str) {
    let plain = identifier(schema) == schema;
    let schema = if plain { Ident::new(schema) } else { Ident::with_quote('"', schema) };
    name.0.insert(0, ast::ObjectNamePart::Identifier(schema));
}

/// Writes schemas before the names of sequences in calls such as `nextval('numbers')`.
pub fn qualify_sequences(expr: &mut Expr, find: &dyn Fn(&str) -> Option<String>) {
    let Expr::Function(function) = expr else { return };
    if !["nextval", "setval"].iter().any(|name| last_word(&function.name).as_deref() == Some(name)) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = list.args.first_mut() else {
        return;
    };
    if let Value::SingleQuotedString(text) = &mut value.value
        && let (None, name) = split_name(text)
        && let Some(schema) = find(&name)
    {
        *text = format!("{}.{}", identifier(&schema), identifier(&name));
    }
}

/// Qualifies the relations of a statement; names of WITH and of functions stay.
struct Qualify<'a> {
    path: &'a SearchPath<'a>,
    /// Names of the WITH clauses around, innermost last.
    hidden: Vec<Vec<String>>,
    /// WITH clauses of the queries around, which are visited already.
    withs: Vec<Option<With>>,
    /// The next relation is a function.
    is_function: bool,
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut names = vec![];
        if let Some(with) = &mut query.with {
            let all: Vec<String> = with.cte_tables.iter().map(|cte| fold(&cte.alias.name)).collect();
            for (n, cte) in with.cte_tables.iter_mut().enumerate() {
                // A query in WITH knows those before it, and itself only where WITH is RECURSIVE.
                self.hidden.push(if with.recursive { all.clone() } else { all[..n].to_vec() });
                let _ = cte.query.visit(self);
                self.hidden.pop();
            }
            names = all;
        }
        self.hidden.push(names);
        self.withs.push(query.with.take());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.hidden.pop();
        query.with = self.withs.pop().flatten();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.is_function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        let is_hidden = |ident: &Ident| self.hidden.iter().flatten().any(|hidden| *hidden == fold(ident));
        let known = name.0.first().and_then(|part| part.as_ident()).is_some_and(is_hidden);
        if !std::mem::take(&mut self.is_function) && !known {
            self.path.existing(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        qualify_sequences(expr, self.path.find);
        ControlFlow::Continue(())
    }
}
