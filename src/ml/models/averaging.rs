//! Averages of models of one series, weighted by the evidence for each (Burnham and Anderson 2002; Kolassa 2011).

use crate::ml::evaluation::PointForecast;

/// What the evidence is divided by: AICc takes the errors of a series for independent and its model for true, which
/// they never are, so that forecasts are best with weights nearer to each other than it says.
const DOUBT: f64 = 6.0;

/// The `count` models with the least AICc, each with its weight; weights sum to 1.
pub(super) fn weighted<T>(mut models: Vec<(f64, T)>, count: usize) -> Vec<(f64, T)> {
    models.retain(|(aicc, _)| aicc.is_finite());
    models.sort_by(|a, b| a.0.total_cmp(&b.0));
    models.truncate(count);
    let least = models.first().map_or(0.0, |(aicc, _)| *aicc);
    models.iter_mut().for_each(|(aicc, _)| *aicc = (-(*aicc - least) / (2.0 * DOUBT)).exp());
    let total: f64 = models.iter().map(|(weight, _)| weight).sum();
    models.iter_mut().for_each(|(weight, _)| *weight /= total);
    models
}

/// The weighted mean of forecasts, with the latest errors that all have; `None` where there is none.
pub(super) fn average(parts: impl Iterator<Item = (f64, PointForecast)>) -> Option<PointForecast> {
    let parts: Vec<(f64, PointForecast)> = parts.collect();
    let (_, first) = parts.first()?;
    let errors = parts.iter().map(|(_, part)| part.residuals.len()).min()?;
    let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
    let mut out = PointForecast {
        point: vec![0.0; first.point.len()],
        residuals: vec![0.0; errors],
        growth: vec![0.0; first.growth.len()],
        level: first.level,
    };
    for (weight, part) in &parts {
        let share = weight / total;
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(a, b)| *a += share * b);
        add(&mut out.point, &part.point);
        add(&mut out.residuals, &part.residuals[part.residuals.len() - errors..]);
        add(&mut out.growth, &part.growth);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_models_weigh_by_their_evidence() {
        let models = vec![(2.0 * DOUBT * 3f64.ln(), 'b'), (0.0, 'a'), (f64::INFINITY, 'c'), (1e9, 'd')];
        let weighted = weighted(models, 2);
        assert_eq!((weighted[0].1, weighted[1].1, weighted.len()), ('a', 'b', 2));
        assert!((weighted[0].0 - 0.75).abs() < 1e-12 && (weighted[1].0 - 0.25).abs() < 1e-12);
    }

    #[test]
    fn the_latest_errors_are_averaged() {
        let part = |y: f64, residuals: &[f64]| PointForecast {
            point: vec![y],
            residuals: residuals.to_vec(),
            growth: vec![1.0],
            level: 2.0,
        };
        let parts = [(0.5, part(4.0, &[9.0, 4.0])), (1.5, part(8.0, &[8.0]))];
        let mean = average(parts.into_iter()).unwrap();
        assert_eq!((mean.point[0], mean.residuals, mean.growth[0]), (7.0, vec![7.0], 1.0));
        assert!(average([].into_iter()).is_none());
    }
}
