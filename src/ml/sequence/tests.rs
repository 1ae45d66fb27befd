use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::layers::{Along, Gradients, Parameters};
use crate::ml::rng::Rng;
use crate::ml::sequence::examples::{Asked, Examples};
use crate::ml::sequence::network::{Pass, SequenceNetwork, Sizes};
use crate::ml::sequence::{Events, SequenceModel, SequenceOptions, SequencePretraining, fit, pretrain};
use crate::ml::training::{Course, Dataset, Network};

/// Walks around a circle of events, forwards or backwards by the first step; one column tells the side of the circle.
fn circles(sequences: usize, events: usize) -> Events {
    let mut all = Events::new(2);
    let mut rng = Rng::new(3);
    for _ in 0..sequences {
        let (mut at, forward) = (rng.below(12), rng.chance(0.5));
        for _ in 0..events {
            all.columns[0].push(Some(&format!("e{at}")));
            all.columns[1].push(Some(if at < 6 { "left" } else { "right" }));
            at = (at + if forward { 1 } else { 11 }) % 12;
        }
        all.ends.push(all.columns[0].codes.len());
    }
    all
}

fn options(epochs: usize) -> SequencePretraining {
    SequencePretraining {
        width: 16,
        heads: 2,
        layers: 1,
        longest: 8,
        epochs,
        batch_size: 32,
        learning_rate: 5e-3,
        dropout: 0.0,
        hidden: Some(0.2),
        classes: 1_000,
        device: Placement::Cpu,
        max_seconds: None,
        seed: 5,
    }
}

#[test]
fn the_next_step_of_a_walk_is_learnt() {
    let events = circles(200, 10);
    let wanted = SequenceOptions { course: options(25), patience: 10 };
    let (model, report) = fit(&events, None, &wanted, &Control::default()).unwrap();
    assert!(report.mrr > 0.95 && report.naive_mrr < 0.5 && report.hit_rate == 1.0, "{report:?}");
    let again = SequenceModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let mut asked = Events::new(2);
    for walk in [&["e2", "e3", "e4"][..], &["e4", "e3"], &["new", "e9", "e10", "e11"], &[]] {
        for event in walk {
            asked.columns[0].push(Some(event));
            asked.columns[1].push(None);
        }
        asked.ends.push(asked.columns[0].codes.len());
    }
    let told = again.predict(&asked, &Control::default()).unwrap();
    let best = |row: &[f32]| {
        let at = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        again.classes()[at].clone()
    };
    let rows: Vec<&[f32]> = told.chunks_exact(again.classes().len()).collect();
    assert_eq!([best(rows[0]), best(rows[1]), best(rows[2])], ["e5", "e2", "e0"]);
    assert!(rows.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-4));
    // Alone a sequence is told what it is told beside others.
    let mut alone = Events::new(2);
    ["e2", "e3", "e4"].iter().for_each(|event| {
        alone.columns[0].push(Some(event));
        alone.columns[1].push(None);
    });
    alone.ends.push(3);
    let one = again.predict(&alone, &Control::default()).unwrap();
    assert!(one.iter().zip(rows[0]).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn pretraining_helps_where_little_is_learnt_from() {
    let (many, few) = (circles(400, 10), circles(40, 5));
    let course = Course { resume: None, keep: &|_| Ok(()) };
    let base = pretrain(&many, &options(25), course, &Control::default()).unwrap();
    let loss = |n: usize| base.log[n].valid_loss;
    assert!(loss(base.log.len() - 1) < 0.5 * loss(0), "{:?}", base.log);
    let wanted = SequenceOptions { course: options(8), patience: 10 };
    let (_, with) = fit(&few, Some(&base.model), &wanted, &Control::default()).unwrap();
    let (_, without) = fit(&few, None, &wanted, &Control::default()).unwrap();
    assert!(with.mrr > 1.1 * without.mrr, "{} {}", with.mrr, without.mrr);
    let mut other = few.clone();
    other.columns.pop();
    let error = fit(&other, Some(&base.model), &wanted, &Control::default()).unwrap_err();
    assert_eq!(error.message(), "the pretrained model reads 1 columns beside the events");
}

#[test]
fn pretraining_does_not_see_the_last_events_and_hides_more_of_shorter_sequences() {
    let events = circles(60, 6);
    // What stands at a place of every sequence goes to the next sequence: each event is as frequent as before.
    let moved = |place: usize| {
        let mut moved = events.clone();
        for (column, from) in moved.columns.iter_mut().zip(&events.columns) {
            for n in 0..events.len() {
                let to = (n + 1) % events.len();
                column.codes[events.of(to).start + place] = from.codes[events.of(n).start + place];
            }
        }
        moved
    };
    let bytes = |events: &Events, hidden: Option<f64>| {
        let course = Course { resume: None, keep: &|_| Ok(()) };
        let options = SequencePretraining { hidden, longest: 24, ..options(2) };
        pretrain(events, &options, course, &Control::default()).unwrap().model.to_bytes().unwrap()
    };
    let plain = bytes(&events, None);
    assert!(plain == bytes(&moved(5), None));
    assert!(plain != bytes(&moved(4), None));
    // Five before the last: the most that is hidden, which is less of longer ones.
    assert!(plain == bytes(&events, Some(0.6)));
    let longer = circles(60, 21);
    assert!(bytes(&longer, None) != bytes(&longer, Some(0.6)));
}

#[test]
fn every_parameter_gets_a_gradient_and_nothing_later_is_seen() {
    let sizes = Sizes { codes: vec![14, 4], width: 16, heads: 2, layers: 2, longest: 8 };
    let network = |along| SequenceNetwork::new(Parameters::seeded(Rng::new(1)), &sizes, along, 0.1).unwrap();
    let events = circles(6, 7);
    let vocabulary = crate::ml::sequence::Vocabulary::of(&events, 100);
    let examples = |asked, codes: Vec<Vec<u32>>| Examples {
        codes,
        windows: Examples::windows((0..6).map(|n| events.of(n)), 8, true),
        asked,
        copies: 1,
        seed: Rng::new(2),
    };
    for (along, asked) in [(Along::Earlier, Asked::Next), (Along::Steps, Asked::Hidden(0.3))] {
        let (network, mut pass) = (network(along), Pass::default());
        examples(asked, vocabulary.encode(&events)).gather(&[0, 3, 5], &mut pass);
        let loss = network.loss(&pass, Some(1)).unwrap();
        let mut gradients = Gradients::default();
        gradients.add(&loss.sum, network.parameters()).unwrap();
        for (name, var, _) in network.parameters().iter() {
            let gradient = gradients.take(var).unwrap().unwrap_or_default();
            assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
        }
    }
    let network = network(Along::Earlier);
    let scores = |change: bool| {
        let (mut codes, mut pass) = (vocabulary.encode(&events), Pass::default());
        if change {
            codes.iter_mut().for_each(|codes| codes[4] = 2);
        }
        examples(Asked::Next, codes).gather(&[0], &mut pass);
        network.scores(&pass).unwrap().to_vec2::<f32>().unwrap()
    };
    let (before, after) = (scores(false), scores(true));
    assert_eq!(before[..4], after[..4]);
    assert_ne!(before[4], after[4]);
}
