//! Fits on made-up rows whose truth is known.

use crate::ml::control::Control;
use crate::ml::rng::Rng;
use crate::ml::supervised::{
    Column, ColumnKind, Fitted, MemberFamily, RowsOptions, Table, Target, Task, Values, Words, fit, leaked,
};

/// Rows whose class follows from a number, a word and a text, with chance `noise` of another class.
fn rows(n: usize, classes: usize, noise: f64) -> (Table, Target, Task) {
    let mut rng = Rng::new(3);
    let (mut x, mut colors, mut notes, mut labels) = (vec![], Words::default(), Words::default(), vec![]);
    for _ in 0..n {
        let class = rng.below(classes);
        x.push(if rng.chance(0.1) { f64::NAN } else { class as f64 + 0.6 * rng.normal() });
        let color = ["red", "blue", "green"][if rng.chance(0.5) { class % 3 } else { rng.below(3) }];
        colors.push(Some(color).filter(|_| !rng.chance(0.05)));
        let word = ["bad", "fair", "good", "great"][class % 4];
        let note = if rng.chance(0.6) {
            format!("a {word} shoe, truly {word}")
        } else {
            "a shoe as any other".to_owned()
        };
        notes.push(Some(&note));
        labels.push(if rng.chance(noise) { rng.below(classes) as u32 } else { class as u32 });
    }
    let column = |name: &str, kind, values| Column { name: name.to_owned(), kind, values };
    let columns = vec![
        column("x", ColumnKind::Number, Values::Numbers(x)),
        column("color", ColumnKind::Category, Values::Words(colors)),
        column("note", ColumnKind::Text, Values::Words(notes)),
    ];
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    (Table { columns, rows: n }, Target::Classes(labels), Task::Classes(names))
}

#[test]
fn every_family_tells_more_than_chance_and_the_combination_most() {
    for classes in [2, 4] {
        let (table, target, task) = rows(1_500, classes, 0.05);
        let (model, report) =
            fit(&table, &target, &task, &RowsOptions::default(), &Control::default()).unwrap();
        let naive = report.naive.log_loss.unwrap();
        assert_eq!(report.members.len(), 4);
        for member in &report.members {
            assert!(member.failure.is_none(), "{member:?}");
            assert!(member.scores.log_loss.unwrap() < 0.8 * naive, "{member:?} {naive}");
        }
        assert!(report.scores.log_loss.unwrap() <= report.members[0].scores.log_loss.unwrap());
        assert!(report.scores.auc.unwrap() > 0.9, "{:?}", report.scores);
        let told = model.predict(&table, &Control::default()).unwrap();
        assert_eq!(told.len(), 1_500 * classes);
        assert!(told.chunks_exact(classes).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-4));
        // The file tells the same, and so does the same fit again.
        let bytes = model.to_bytes().unwrap();
        let again = Fitted::from_bytes(&bytes).unwrap();
        assert_eq!(again.predict(&table, &Control::default()).unwrap(), told);
        let (twin, _) = fit(&table, &target, &task, &RowsOptions::default(), &Control::default()).unwrap();
        assert_eq!(twin.to_bytes().unwrap(), bytes);
    }
}

#[test]
fn numbers_are_told() {
    let (table, _, _) = rows(1_200, 4, 0.0);
    let x = table.numbers(0).to_vec();
    let mut rng = Rng::new(9);
    let y = x.iter().map(|x| if x.is_finite() { 100.0 + 10.0 * x } else { 90.0 } + rng.normal());
    let target = Target::Numbers(y.collect());
    for families in [vec![], vec![MemberFamily::Linear], vec![MemberFamily::Gbt]] {
        let options = RowsOptions { families, ..RowsOptions::default() };
        let (model, report) = fit(&table, &target, &Task::Number, &options, &Control::default()).unwrap();
        assert!(report.scores.r2.unwrap() > 0.95, "{report:?}");
        let told = model.predict(&table, &Control::default()).unwrap();
        assert!(told.iter().all(|y| (40.0..200.0).contains(y)));
        let again = Fitted::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(again.predict(&table, &Control::default()).unwrap(), told);
    }
}

#[test]
fn a_class_of_one_row_is_learnt_from_and_unsuitable_families_say_why() {
    let (table, target, _) = rows(60, 2, 0.0);
    let Target::Classes(mut classes) = target else { panic!() };
    classes[5] = 2;
    let task = Task::Classes(["a", "b", "c"].map(str::to_owned).to_vec());
    let (model, report) =
        fit(&table, &Target::Classes(classes), &task, &RowsOptions::default(), &Control::default()).unwrap();
    assert!(report.scores.log_loss.unwrap().is_finite());
    assert_eq!(model.predict(&table, &Control::default()).unwrap().len(), 180);
    let options = RowsOptions { families: vec![MemberFamily::Svm], ..RowsOptions::default() };
    let numbers = Target::Numbers((0..60).map(f64::from).collect());
    let refused = fit(&table, &numbers, &Task::Number, &options, &Control::default()).unwrap_err();
    assert_eq!(refused.message(), "svm of rows tells classes; linear and gbt tell numbers");
    let few = fit(&table, &Target::Numbers(vec![1.0; 3]), &Task::Number, &options, &Control::default());
    assert_eq!(few.unwrap_err().message(), "3 rows are too few to learn from; 20 are needed");
}

#[test]
fn columns_that_hold_what_is_told_are_found() {
    let (mut table, target, task) = rows(400, 2, 0.0);
    assert!(leaked(&table, &target, &task).is_empty());
    let Target::Classes(classes) = &target else { panic!() };
    let copy = classes.iter().map(|class| 10.0 - 3.0 * f64::from(*class)).collect();
    let mut words = Words::default();
    classes.iter().for_each(|class| words.push(Some(["no", "yes"][*class as usize])));
    for (name, kind, values) in [
        ("copy", ColumnKind::Number, Values::Numbers(copy)),
        ("answer", ColumnKind::Category, Values::Words(words)),
    ] {
        table.columns.push(Column { name: name.to_owned(), kind, values });
    }
    let found: Vec<String> = leaked(&table, &target, &task).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, ["copy", "answer"]);
    // Of more than two classes a number may be the code of one.
    let (mut table, target, task) = rows(400, 3, 0.0);
    assert!(leaked(&table, &target, &task).is_empty());
    let Target::Classes(classes) = &target else { panic!() };
    let code = classes.iter().map(|class| [7.0, 1.0, 4.0][*class as usize]).collect();
    table.columns.push(Column {
        name: "code".to_owned(),
        kind: ColumnKind::Number,
        values: Values::Numbers(code),
    });
    assert_eq!(leaked(&table, &target, &task), [("code".to_owned(), 1.0)]);
}

#[test]
fn damage_to_a_file_is_refused_or_harmless() {
    let (table, target, task) = rows(200, 2, 0.1);
    let options = RowsOptions { trees: 20, ..RowsOptions::default() };
    let (model, _) = fit(&table, &target, &task, &options, &Control::default()).unwrap();
    let bytes = model.to_bytes().unwrap();
    let mut rng = Rng::new(8);
    for _ in 0..60 {
        let mut damaged = bytes.clone();
        let at = rng.below(bytes.len());
        damaged[at] ^= 1 << rng.below(8);
        match Fitted::from_bytes(&damaged) {
            Ok(model) => drop(model.predict(&table, &Control::default())),
            Err(error) => assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt, "{error}"),
        }
    }
    assert!(Fitted::from_bytes(&bytes[..bytes.len() / 2]).is_err());
}
