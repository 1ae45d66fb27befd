//! Learning rate over the steps of a training.

/// Linear warm-up to the peak, then half a cosine down to a tenth of a percent of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Highest rate.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warm_up: usize,
    /// Steps in all.
    pub steps: usize,
}

impl Schedule {
    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        let cooled = (step - self.warm_up) as f64 / self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * cooled.min(1.0)).cos());
        self.peak * (0.001 + 0.999 * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_and_falls_to_near_nothing() {
        let schedule = Schedule { peak: 0.1, warm_up: 10, steps: 110 };
        assert!((schedule.rate(0) - 0.01).abs() < 1e-12);
        assert!((schedule.rate(9) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(60) - 0.1 * 0.5005).abs() < 1e-12);
        assert!((schedule.rate(500) - 0.0001).abs() < 1e-12);
        assert!(Schedule { peak: 1.0, warm_up: 0, steps: 0 }.rate(0).is_finite());
    }
}
