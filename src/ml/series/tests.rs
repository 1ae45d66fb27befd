//! From rows to panels through the public door.

use crate::error::{ErrorKind, Result, Subject};
use crate::ml::control::Control;
use crate::ml::series::{
    Column, ColumnKind, ColumnSpec, Duplicates, FinishOptions, Frequency, Gaps, Grid, MISSING, Panel,
    PanelBuilder, PanelReport, PanelSchema, Rows, TimeKind, Values,
};

const DAY: i64 = 86_400_000_000;
const NULL: f64 = f64::NAN;

fn builder() -> PanelBuilder {
    let number = |name: &str| ColumnSpec { name: name.into(), kind: ColumnKind::Number };
    PanelBuilder::new(PanelSchema {
        table: "sales".into(),
        time: "sale_date".into(),
        time_kind: TimeKind::Date,
        target: "units".into(),
        known: vec![number("price")],
        past: vec![number("visits")],
        statics: vec![ColumnSpec { name: "region".into(), kind: ColumnKind::Category }],
    })
}

/// Appends `(day, target)` rows; price is the day, visits twice the day.
fn append(builder: &mut PanelBuilder, key: &str, rows: &[(i64, f64)]) -> Result<()> {
    let times: Vec<i64> = rows.iter().map(|(day, _)| day * DAY).collect();
    let target: Vec<f64> = rows.iter().map(|(_, y)| *y).collect();
    let nulls: Vec<bool> = target.iter().map(|y| y.is_nan()).collect();
    let price: Vec<f32> = rows.iter().map(|(day, _)| *day as f32).collect();
    let visits: Vec<f32> = price.iter().map(|v| v * 2.0).collect();
    let region = vec![Some(key); rows.len()];
    builder.append(
        key,
        &Rows {
            timestamps: &times,
            target: &target,
            nulls: Some(&nulls),
            known: &[Column::Number(&price)],
            past: &[Column::Number(&visits)],
            statics: &[Column::Text(&region)],
        },
    )
}

fn finish(builder: PanelBuilder, options: FinishOptions) -> Result<(Panel, PanelReport)> {
    builder.finish(&options, &Control::default())
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

#[test]
fn runs_go_on_gaps_are_filled_and_future_rows_are_split_off() {
    let mut b = builder();
    append(&mut b, "s=1", &[(0, 1.0), (1, 2.0)]).unwrap();
    append(&mut b, "s=1", &[(4, 5.0), (5, NULL), (6, NULL)]).unwrap();
    append(&mut b, "s=2", &[(1, NULL), (2, NULL)]).unwrap();
    append(&mut b, "s=3", &[(4, 7.0), (5, 8.0), (6, NULL), (7, NULL)]).unwrap();
    let (panel, report) =
        finish(b, FinishOptions { gaps: Gaps::Linear, ..FinishOptions::default() }).unwrap();
    assert_eq!(panel.keys, ["s=1", "s=3"]);
    assert_eq!((&panel.history[..], &panel.start[..]), (&[6, 2][..], &[0, 4][..]));
    assert!(same(panel.history_of(0), &[1.0, 2.0, 3.0, 4.0, 5.0, NULL]));
    assert_eq!((panel.future_of(0), panel.future_of(1), panel.season_length), (1, 2, 7));
    let Values::Number(price) = &panel.known[0].values else { panic!("numbers") };
    assert!(price[2].is_nan() && price[6] == 6.0 && price[10] == 7.0);
    let Values::Number(visits) = &panel.past[0].values else { panic!("numbers") };
    assert!(visits[5] == 10.0 && visits[6].is_nan() && visits[10].is_nan());
    assert_eq!(panel.statics[0].values.codes_in(&["s=3".into()]), [MISSING, 0]);
    let expected = PanelReport {
        series: 2,
        rows: 11,
        gaps_filled: 2,
        missing: 1,
        dropped_series: 1,
        future_rows: 3,
        first_time: 0,
        last_time: 5 * DAY,
        ..PanelReport::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn a_given_cutoff_makes_one_series_alone_like_all_together() {
    let rows: [(&str, &[(i64, f64)]); 3] = [
        ("late", &[(7, 1.0), (8, 2.0), (9, 3.0), (10, NULL)]),
        ("quiet", &[(5, 1.0), (6, 2.0), (7, NULL), (8, NULL), (9, NULL)]),
        ("unseen", &[(7, NULL), (8, NULL), (9, NULL)]),
    ];
    let shape = |which: &[usize]| {
        let mut b = builder();
        which.iter().for_each(|i| append(&mut b, rows[*i].0, rows[*i].1).unwrap());
        let grid = Grid::Every(Frequency::Days(1));
        let (panel, _) =
            finish(b, FinishOptions { cutoff: Some(8 * DAY), grid, ..FinishOptions::default() }).unwrap();
        (0..panel.len()).map(|i| (panel.history[i], panel.future_of(i))).collect::<Vec<_>>()
    };
    assert_eq!(shape(&[0, 1, 2]), [(3, 1), (4, 1), (2, 1)]);
    assert_eq!([shape(&[0]), shape(&[1]), shape(&[2])].concat(), shape(&[0, 1, 2]));
}

#[test]
fn every_policy_fills_its_way() {
    let filled = |gaps| {
        let mut b = builder();
        append(&mut b, "", &[(0, 1.0), (1, NULL), (3, 9.0), (4, 9.0), (5, 9.0)]).unwrap();
        finish(b, FinishOptions { gaps, ..FinishOptions::default() }).map(|(panel, _)| panel.target)
    };
    for (gaps, value) in [(Gaps::Zero, 0.0), (Gaps::Null, NULL), (Gaps::Previous, 1.0)] {
        assert!(same(&filled(gaps).unwrap(), &[1.0, NULL, value, 9.0, 9.0, 9.0]), "{gaps:?}");
    }
    assert!((filled(Gaps::Linear).unwrap()[2] - (1.0 + 8.0 * 2.0 / 3.0)).abs() < 1e-12);
    let message = filled(Gaps::Error).unwrap_err();
    assert_eq!(message.message(), "sales has no row for sale_date=1970-01-03 and GAPS is ERROR");
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn lines_do_not_lead_out_of_what_is_held_out() {
    let filled = |last: f64| {
        let mut b = builder();
        append(&mut b, "other", &[(0, 1.0), (1, 1.0), (2, 1.0)]).unwrap();
        append(&mut b, "", &[(0, 1.0), (1, 3.0), (4, last), (5, last)]).unwrap();
        finish(b, FinishOptions { gaps: Gaps::Linear, ..FinishOptions::default() }).unwrap().0
    };
    let panel = filled(9.0);
    assert_eq!((panel.history_of(1), &panel.lines[..]), (&[1.0, 3.0, 5.0, 7.0, 9.0, 9.0][..], &[5..7][..]));
    let bits = |panel: &Panel, steps| {
        let held = panel.hold_out(steps);
        held.history_of(1).iter().map(|y| y.to_bits()).collect::<Vec<_>>()
    };
    assert_ne!(bits(&panel, 1), bits(&filled(1e6), 1));
    for steps in 2..=4 {
        assert_eq!(bits(&panel, steps), bits(&filled(1e6), steps), "{steps}");
        assert_eq!(panel.hold_out(steps).history_of(1), &[1.0, 3.0, 3.0, 3.0][..6 - steps]);
    }
}

#[test]
fn duplicates_are_named_or_counted() {
    let build = |duplicates| {
        let mut b = builder();
        append(&mut b, "store_id=3, item_id=A1", &[(0, 1.0), (1, 2.0), (2, 3.0), (2, 4.0), (2, 5.0)])
            .unwrap();
        finish(b, FinishOptions { duplicates, ..FinishOptions::default() })
    };
    assert_eq!(
        build(Duplicates::Error).unwrap_err().message(),
        "sales has 3 rows for store_id=3, item_id=A1, sale_date=1970-01-03; use TARGET sum(units) … EVERY DAY"
    );
    let (panel, report) = build(Duplicates::Last).unwrap();
    assert_eq!((report.duplicates, &panel.target[..]), (2, &[1.0, 2.0, 5.0][..]));
}

#[test]
fn every_moves_rows_to_their_period_and_a_fixed_grid_keeps_its_phase() {
    let rows: &[(i64, f64)] = &[(4, 1.0), (12, 2.0), (19, 3.0)];
    let with = |grid| {
        let mut b = builder();
        append(&mut b, "s", rows).unwrap();
        finish(b, FinishOptions { grid, ..FinishOptions::default() }).unwrap()
    };
    let (panel, report) = with(Grid::Every(Frequency::Days(7)));
    assert_eq!((report.truncated, panel.origin, panel.len()), (2, 4 * DAY, 1));
    assert_eq!(panel.target, [1.0, 2.0, 3.0]);
    let (panel, _) = with(Grid::Fixed { frequency: Frequency::Days(7), origin: 5 * DAY });
    assert!(same(&panel.target, &[1.0, NULL, 2.0, 3.0][..]) || same(&panel.target, &[1.0, 2.0, 3.0]));
    assert_eq!(panel.instant(panel.start[0]), Some(-2 * DAY));
}

#[test]
fn bad_rows_are_refused_with_their_place() {
    for (value, word) in [(f64::INFINITY, "infinity"), (f64::NAN, "NaN")] {
        let one = [1.0f32];
        let rows = Rows {
            timestamps: &[2 * DAY],
            target: &[value],
            nulls: None,
            known: &[Column::Number(&one)],
            past: &[Column::Number(&one)],
            statics: &[Column::Text(&[None])],
        };
        let error = builder().append("s=1", &rows).unwrap_err();
        let expected = format!(
            "the target units of sales is {word} at s=1, sale_date=1970-01-03; it must be finite or NULL"
        );
        assert_eq!(error.message(), expected);
    }
    let mut b = builder();
    append(&mut b, "a", &[(0, 1.0)]).unwrap();
    append(&mut b, "b", &[(0, 1.0)]).unwrap();
    assert_eq!(append(&mut b, "a", &[(1, 1.0)]).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(append(&mut b, "b", &[(-1, 1.0)]).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(finish(builder(), FinishOptions::default()).unwrap_err().kind(), ErrorKind::Data);
    let mut b = builder();
    append(&mut b, "a", &[(0, NULL), (1, NULL)]).unwrap();
    let error = finish(b, FinishOptions::default()).unwrap_err();
    assert_eq!(error.message(), "the target units of sales is NULL in every row");
    let mut b = builder();
    append(&mut b, "a", &[(0, 1.0), (1, 1.0), (900_000, 1.0)]).unwrap();
    assert!(finish(b, FinishOptions::default()).unwrap_err().message().contains("fewer than one row"));
    let mut b = builder();
    append(&mut b, "a", &[(0, 1.0), (1, 1.0)]).unwrap();
    let tight = FinishOptions { memory_limit: Some(10), ..FinishOptions::default() };
    assert_eq!(finish(b, tight).unwrap_err().subject(), Subject::Memory);
}

#[test]
fn trailing_nulls_are_history_in_every_cut() {
    let mut b = builder();
    append(&mut b, "a", &[(0, 1.0), (1, 2.0), (2, NULL), (3, NULL)]).unwrap();
    append(&mut b, "b", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]).unwrap();
    let (panel, _) = finish(b, FinishOptions::default()).unwrap();
    assert_eq!(panel.history, [4, 4]);
    assert!(same(panel.hold_out(1).history_of(0), &[1.0, 2.0, NULL]));
    let last = panel.take_last(3);
    assert!(same(last.history_of(0), &[2.0, NULL, NULL]) && last.first_step(0) == panel.first_step(0));
    let price = [ColumnSpec { name: "price".into(), kind: ColumnKind::Number }];
    let mut rows = crate::ml::series::FutureRows::new(&price);
    rows.append("a", &[4 * DAY], &[Column::Number(&[9.0])]).unwrap();
    let (extended, report) = panel.append_future(rows, 1, 1).unwrap();
    assert_eq!((report.matched, report.absent, extended.future_of(0)), (1, 1, 1));
    assert!(same(extended.history_of(0), panel.history_of(0)));
}
