//! Levels, sums and alignment through the public door.

use crate::ml::hierarchy::{Hierarchy, Rollup, align};
use crate::ml::series::{Covariate, Frequency, Gaps, MISSING, Panel, Values};

const NULL: f64 = f64::NAN;

fn rollup(keys: &[&str], lists: &[&[usize]]) -> Rollup {
    Rollup::new(
        keys.iter().map(ToString::to_string).collect(),
        lists.iter().map(|list| list.to_vec()).collect(),
    )
}

fn series(keys: &[&str], rows: &[&[&str]]) -> Vec<Vec<String>> {
    rows.iter()
        .map(|row| keys.iter().zip(*row).map(|(key, word)| format!("{key}={word}")).collect())
        .collect()
}

#[test]
fn levels_are_summed_once_and_single_series_stand_for_themselves() {
    let keys = ["state", "zone"];
    let rows: &[&[&str]] = &[&["A", "AA"], &["A", "AB"], &["A", "AC"], &["B", "BA"], &["B", "BB"]];
    let hierarchy = Hierarchy::new(&rollup(&keys, &[&[0, 1]]), &series(&keys, rows));
    assert_eq!((hierarchy.series(), hierarchy.sums()), (5, 3));
    assert_eq!(hierarchy.keys(), ["state=A", "state=B", ""]);
    assert_eq!(hierarchy.series_of(7), [0, 1, 2, 3, 4]);
    let keys = ["store", "item"];
    let rows: &[&[&str]] = &[&["1", "x"], &["2", "x"], &["2", "y"]];
    let crossed = Hierarchy::new(&rollup(&keys, &[&[0], &[1]]), &series(&keys, rows));
    let rows: Vec<(usize, usize, usize)> =
        crossed.rows().iter().map(|r| (r.level, r.first, r.node)).collect();
    assert_eq!(rows, [(1, 0, 0), (1, 1, 3), (2, 0, 4), (2, 2, 2), (3, 0, 5)]);
    assert_eq!(crossed.keys(), ["store=2", "item=x", ""]);
}

fn panel() -> Panel {
    let label = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
    let number =
        |name: &str, values: Vec<f32>| Covariate { name: name.into(), values: Values::Number(values) };
    let text = |codes: Vec<u32>| Covariate {
        name: "kind".into(),
        values: Values::Category { codes, labels: label(&["x", "y"]) },
    };
    Panel {
        frequency: Frequency::Days(1),
        origin: 0,
        season_length: 2,
        keys: label(&["store=a", "store=b"]),
        offsets: vec![0, 5, 8],
        history: vec![4, 2],
        start: vec![0, 2],
        target: vec![1.0, 2.0, 3.0, 4.0, NULL, 10.0, NULL, NULL],
        lines: Vec::new(),
        known: vec![
            number("price", vec![1.0, 2.0, 3.0, 4.0, 5.0, 5.0, f32::NAN, 7.0]),
            number("promo", vec![0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        ],
        past: vec![],
        statics: vec![text(vec![0, 1]), text(vec![1, 1])],
    }
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

#[test]
fn sums_begin_with_their_first_series_and_covariates_are_means_or_what_all_have() {
    let panel = panel();
    let hierarchy = Hierarchy::new(&rollup(&["store"], &[&[0]]), &series(&["store"], &[&["a"], &["b"]]));
    let all = hierarchy.aggregate(&panel);
    assert_eq!((all.len(), all.start[2], all.history[2], all.future_of(2)), (3, 0, 4, 1));
    // Store b has nothing before day 2, and 10 for its missing value, which is most of the sum.
    assert!(same(all.history_of(2), &[1.0, 2.0, 13.0, NULL]));
    let Values::Number(price) = &all.known[0].values else { panic!("numbers") };
    assert_eq!(price[8..], [1.0, 2.0, 4.0, 4.0, 6.0]);
    let Values::Number(promo) = &all.known[1].values else { panic!("numbers") };
    assert!(promo[8..11] == [0.0, 1.0, 1.0] && promo[11].is_nan() && promo[12] == 1.0);
    let kinds = all.statics.iter().map(|c| c.values.codes_in(&["x".into(), "y".into()])[2]);
    assert_eq!(kinds.collect::<Vec<_>>(), [MISSING, 1]);
    let mut small = panel.clone();
    small.target[5] = 2.0;
    assert!(same(hierarchy.aggregate(&small).history_of(2), &[1.0, 2.0, 5.0, 6.0]));
}

#[test]
fn histories_end_together() {
    let early = Panel { history: vec![4, 1], offsets: vec![0, 5, 6], ..panel() };
    let cut = |values: &Values| match values {
        Values::Number(numbers) => Values::Number(numbers[..6].to_vec()),
        other => other.clone(),
    };
    let known =
        early.known.iter().map(|c| Covariate { name: c.name.clone(), values: cut(&c.values) }).collect();
    let early = Panel { target: early.target[..6].to_vec(), known, ..early };
    for (gaps, value) in [(Gaps::Zero, 0.0), (Gaps::Null, NULL), (Gaps::Previous, 10.0), (Gaps::Linear, NULL)]
    {
        let mut together = early.clone();
        assert_eq!(align(&mut together, gaps), 1);
        assert_eq!((&together.history[..], together.first_step(1)), (&[4, 2][..], 4));
        assert!(same(together.history_of(1), &[10.0, value]), "{gaps:?}");
        assert_eq!(align(&mut together, gaps), 0);
    }
    // A series that begins later than all histories end.
    let mut late = early.clone();
    (late.start[1], late.history[1], late.target[5]) = (6, 0, NULL);
    let mut together = late.clone();
    assert_eq!(align(&mut together, Gaps::Zero), 0);
    assert_eq!((together.first_step(1), together.history[1], together.future_of(1)), (4, 0, 3));
    let Values::Number(price) = &together.known[0].values else { panic!("numbers") };
    assert!(price[5].is_nan() && price[7] == 5.0);
}
