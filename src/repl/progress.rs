//! The bar under a running TRAIN: phase, epoch, losses, speed and the time that is left.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::Progress;

const STEPS: u64 = 1000;
const TEMPLATE: &str = "{bar:24.cyan/dim} {percent:>3}% {msg}";

/// A bar on standard error that appears with the first report; invisible where there is no terminal.
#[derive(Debug)]
pub(super) struct TrainingBar {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl TrainingBar {
    /// No bar yet.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), bar: None }
    }

    /// Draws where the training stands.
    pub(super) fn show(&mut self, progress: &Progress) {
        let bar = self.bar.get_or_insert_with(new_bar);
        let fraction = progress.fraction.clamp(0.0, 1.0);
        bar.set_position((fraction * STEPS as f64) as u64);
        bar.set_message(message(progress, self.started.elapsed()));
    }

    /// Takes the bar off the screen, so that rows can be printed.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(STEPS).with_style(style.progress_chars("━━─"))
}

fn message(progress: &Progress, elapsed: Duration) -> String {
    let mut parts = vec![progress.phase.to_owned()];
    if progress.epochs > 0 {
        parts.push(format!("epoch {}/{}", progress.epoch, progress.epochs));
    }
    if let Some(loss) = progress.train_loss {
        parts.push(format!("loss {loss:.4}"));
    }
    if let Some(loss) = progress.valid_loss {
        parts.push(format!("validation {loss:.4}"));
    }
    if let Some(speed) = progress.rows_per_second {
        parts.push(format!("{speed:.0} windows/s"));
    }
    if let Some(left) = time_left(progress.fraction, elapsed) {
        parts.push(format!("{} left", HumanDuration(left)));
    }
    parts.join("  ")
}

/// Time left when the rest goes as fast as the part that is done; nothing before 1 % is.
fn time_left(fraction: f64, elapsed: Duration) -> Option<Duration> {
    let known = (0.01..1.0).contains(&fraction);
    known.then(|| elapsed.mul_f64((1.0 - fraction) / fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_tells_what_is_known() {
        let progress = Progress {
            phase: "fit",
            epoch: 3,
            epochs: 20,
            fraction: 0.25,
            train_loss: Some(0.41234),
            rows_per_second: Some(12345.6),
            ..Progress::default()
        };
        let text = message(&progress, Duration::from_secs(10));
        assert_eq!(text, "fit  epoch 3/20  loss 0.4123  12346 windows/s  30 seconds left");
        let reading = Progress { phase: "read", ..Progress::default() };
        assert_eq!(message(&reading, Duration::from_secs(10)), "read");
    }
}
