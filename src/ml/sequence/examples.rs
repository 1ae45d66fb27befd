//! Sequences as examples: what comes next of every event, of the last one only, or what is hidden.

use crate::ml::rng::Rng;
use crate::ml::sequence::network::Pass;
use crate::ml::sequence::vocabulary::{FIRST, HIDDEN};
use crate::ml::training::Dataset;

/// What is asked of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    /// What follows every event.
    Next,
    /// What the last event is.
    Last,
    /// What this share of the events are, which are hidden; other ones each time.
    Hidden(f64),
}

/// Windows of sequences.
#[derive(Debug)]
pub(super) struct Examples {
    /// By column, the codes of all events.
    pub(super) codes: Vec<Vec<u32>>,
    /// First event and end of every window.
    pub(super) windows: Vec<(usize, usize)>,
    pub(super) asked: Asked,
    /// How often each window is there.
    pub(super) copies: usize,
    pub(super) seed: Rng,
}

impl Examples {
    /// The latest window of each of these ranges of events that teaches something, and with `all` those before it.
    pub(super) fn windows(
        ranges: impl Iterator<Item = std::ops::Range<usize>>,
        longest: usize,
        all: bool,
    ) -> Vec<(usize, usize)> {
        let mut windows = vec![];
        for range in ranges {
            let mut end = range.end;
            while end > range.start + 1 {
                // One event more than is looked at: the last one is only told.
                let start = end.saturating_sub(longest + 1).max(range.start);
                windows.push((start, end));
                if !all || start == range.start {
                    break;
                }
                end = start + 1;
            }
        }
        windows
    }

    /// Leaves out windows of which nothing can be told.
    pub(super) fn keep_known(windows: &mut Vec<(usize, usize)>, codes: &[u32], from: usize) {
        windows.retain(|(start, end)| codes[start + from..*end].iter().any(|code| *code >= FIRST));
    }

    /// Steps that are hidden among those that are known.
    fn hide(&self, index: usize, events: &[u32], share: f64) -> Vec<bool> {
        let mut rng = self.seed.stream(index as u64);
        let mut hidden: Vec<bool> = events.iter().map(|code| rng.chance(share) && *code >= FIRST).collect();
        let known: Vec<usize> = (0..events.len()).filter(|step| events[*step] >= FIRST).collect();
        if !hidden.contains(&true) && !known.is_empty() {
            hidden[known[rng.below(known.len())]] = true;
        }
        hidden
    }
}

impl Dataset for Examples {
    type Batch = Pass;

    fn len(&self) -> usize {
        self.windows.len() * self.copies
    }

    fn gather(&self, indexes: &[usize], pass: &mut Pass) {
        let windows: Vec<(usize, usize)> = indexes.iter().map(|i| self.windows[i / self.copies]).collect();
        let seen = |(start, end): &(usize, usize)| match self.asked {
            Asked::Hidden(_) => end - start,
            Asked::Next | Asked::Last => end - start - 1,
        };
        let steps = windows.iter().map(seen).max().unwrap_or(0);
        *pass = Pass { sequences: windows.len(), steps, ..Pass::default() };
        pass.codes = vec![vec![0; windows.len() * steps]; self.codes.len()];
        pass.present = vec![false; windows.len() * steps];
        for (row, (window, index)) in windows.iter().zip(indexes).enumerate() {
            let (start, count, to) = (window.0, seen(window), row * steps);
            for (into, codes) in pass.codes.iter_mut().zip(&self.codes) {
                into[to..to + count].copy_from_slice(&codes[start..start + count]);
            }
            pass.present[to..to + count].fill(true);
            let events = &self.codes[0];
            let mut ask = |step: usize, event: usize| {
                // What is not known cannot be told.
                if events[event] >= FIRST {
                    pass.places.push((to + step) as u32);
                    pass.wanted.push(events[event]);
                }
            };
            match self.asked {
                Asked::Next => (0..count).for_each(|step| ask(step, start + step + 1)),
                Asked::Last => ask(count - 1, start + count),
                Asked::Hidden(share) => {
                    let hidden = self.hide(*index, &events[start..start + count], share);
                    let steps = hidden.iter().enumerate().filter(|(_, hidden)| **hidden);
                    for (step, _) in steps {
                        ask(step, start + step);
                        pass.codes.iter_mut().for_each(|codes| codes[to + step] = HIDDEN);
                    }
                }
            }
        }
    }
}
