//! Stopping when the validation loss no longer falls, keeping the best weights.

/// The best epoch so far and how long ago it was.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStopping {
    patience: usize,
    best_loss: f64,
    best_epoch: usize,
    best_values: Option<Vec<Vec<f32>>>,
}

impl EarlyStopping {
    /// Stops after `patience` epochs without improvement.
    pub fn new(patience: usize) -> Self {
        Self { patience, best_loss: f64::INFINITY, best_epoch: 0, best_values: None }
    }

    /// The state of a stopped training.
    pub fn restored(
        patience: usize,
        best_loss: f64,
        best_epoch: usize,
        best_values: Option<Vec<Vec<f32>>>,
    ) -> Self {
        Self { patience, best_loss, best_epoch, best_values }
    }

    /// Notes the loss after epoch `epoch`; true when it is the best, and then `values` are kept.
    pub fn observe<E>(
        &mut self,
        epoch: usize,
        loss: f64,
        values: impl FnOnce() -> Result<Vec<Vec<f32>>, E>,
    ) -> Result<bool, E> {
        if loss.is_nan() || loss >= self.best_loss {
            return Ok(false);
        }
        self.best_values = Some(values()?);
        (self.best_loss, self.best_epoch) = (loss, epoch);
        Ok(true)
    }

    /// True when `epoch` is too far from the best one.
    pub fn stops_after(&self, epoch: usize) -> bool {
        self.best_values.is_some() && epoch >= self.best_epoch + self.patience
    }

    /// Loss of the best epoch; infinite before the first.
    pub fn best_loss(&self) -> f64 {
        self.best_loss
    }

    /// The best epoch, counted from 1; 0 before the first.
    pub fn best_epoch(&self) -> usize {
        self.best_epoch
    }

    /// Parameters of the best epoch.
    pub fn best_values(&self) -> Option<&[Vec<f32>]> {
        self.best_values.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_best_and_stops_after_patience() {
        let mut stopping = EarlyStopping::new(2);
        for (epoch, loss) in [(1, 3.0), (2, 2.0), (3, f64::NAN)] {
            let values = || Ok::<_, ()>(vec![vec![epoch as f32]]);
            stopping.observe(epoch, loss, values).unwrap();
            assert!(!stopping.stops_after(epoch));
        }
        assert!(!stopping.observe(4, 2.0, || Ok::<_, ()>(Vec::new())).unwrap());
        assert!(stopping.stops_after(4));
        assert_eq!((stopping.best_epoch(), stopping.best_values().unwrap()[0][0]), (2, 2.0));
    }
}
