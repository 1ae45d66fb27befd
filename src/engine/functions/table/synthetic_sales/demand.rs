//! The sales of one series, day by day.

use crate::engine::functions::table::synthetic_sales::calendar::STORE_KINDS;
use crate::engine::functions::table::synthetic_sales::catalogue::Item;
use crate::ml::rng::Rng;

/// Expected units of a day never exceed this.
const MEAN_MAX: f64 = 5_000.0;
/// Days after a launch until demand is at its level.
const LAUNCH_DAYS: f64 = 56.0;
/// Days between two shelves that run empty.
const STOCK_OUT_GAP: f64 = 260.0;

/// One row before it becomes columns.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    /// Number of the day, from 0.
    pub day: usize,
    /// Units sold.
    pub units: i64,
    /// The price paid.
    pub price: f64,
    /// True on a promotion.
    pub promo: bool,
    /// False when the shelf was empty; then no units were sold.
    pub in_stock: bool,
}

/// The first day of the series of this generator: 0, or the day of its launch.
pub fn first_day(rng: &Rng, days: usize) -> usize {
    let mut rng = rng.fork("launch");
    let share = rng.range(0.1, 0.7);
    if rng.chance(0.12) { (share * days as f64) as usize } else { 0 }
}

/// A series on its way through the days.
#[derive(Debug)]
pub struct Series {
    /// Its item.
    pub item: Item,
    rng: Rng,
    day: usize,
    launch: usize,
    kind: usize,
    level: f64,
    growth: f64,
    wander: f64,
    drift: f64,
    dispersion: u32,
    selling_share: f64,
    period: usize,
    stock_out: (usize, usize),
}

impl Series {
    /// The series of this generator: an item in store number `store`.
    pub fn new(rng: Rng, store_rng: &Rng, item: Item, days: usize) -> Self {
        let mut store = store_rng.clone();
        let size = (0.35 * store.normal()).exp();
        let kind = store.below(STORE_KINDS);
        let launch = first_day(&rng, days);
        let mut rng = rng.fork("demand");
        let level = item.level * size * (0.3 * rng.normal()).exp();
        let growth = (0.03 + 0.1 * rng.normal()) / 365.0;
        let dispersion = 2 << rng.below(3);
        let selling_share = if item.intermittent { rng.range(0.04, 0.3) } else { 1.0 };
        let mut series = Self {
            item,
            rng,
            day: launch,
            launch,
            kind,
            level,
            growth,
            wander: 0.0,
            drift: 1.0,
            dispersion,
            selling_share,
            period: 0,
            stock_out: (0, 0),
        };
        series.next_stock_out(launch);
        series
    }

    fn next_stock_out(&mut self, after: usize) {
        let start = after + 1 + (self.rng.exponential() * STOCK_OUT_GAP) as usize;
        self.stock_out = (start, start + 1 + self.rng.below(6));
    }

    /// The next day, or nothing after the last one; `factors` are those of its category and kind of store.
    pub fn next(&mut self, factors: &[f64]) -> Option<Day> {
        let day = self.day;
        let factor = *factors.get(day)?;
        self.day += 1;
        if (day - self.launch).is_multiple_of(7) {
            self.wander = 0.9 * self.wander + 0.06 * self.rng.normal();
            self.drift = self.level * (self.wander + self.growth * day as f64).exp();
        }
        while self.item.prices[self.period].end <= day {
            self.period += 1;
        }
        let period = self.item.prices[self.period];
        let mean = (self.drift * factor * period.response * self.launch_share(day)).min(MEAN_MAX);
        let wanted = self.demand(mean);
        if day >= self.stock_out.1 {
            self.next_stock_out(day);
        }
        let in_stock = day < self.stock_out.0;
        let units = if in_stock { wanted } else { 0 };
        Some(Day { day, units, price: period.price, promo: period.promo, in_stock })
    }

    /// The kind of its store, for the factors of its days.
    pub fn kind(&self) -> usize {
        self.kind
    }

    fn launch_share(&self, day: usize) -> f64 {
        if self.launch == 0 {
            return 1.0;
        }
        (0.3 + 0.7 * (day - self.launch) as f64 / LAUNCH_DAYS).min(1.0)
    }

    fn demand(&mut self, mean: f64) -> i64 {
        if self.selling_share == 1.0 {
            return negative_binomial(self.rng.uniform(), mean, self.dispersion);
        }
        let sells = self.rng.uniform() < self.selling_share * (mean / self.level).clamp(0.2, 3.0);
        let size = self.rng.uniform();
        if sells { 1 + negative_binomial(size, 1.5, 2) } else { 0 }
    }
}

/// The quantile `share` of a negative binomial with this mean and an integer dispersion, by summing its
/// probabilities; multiplications and divisions only, so that every machine gives the same number.
fn negative_binomial(share: f64, mean: f64, dispersion: u32) -> i64 {
    let size = f64::from(dispersion);
    let success = mean / (size + mean);
    let mut probability = (1.0 - success).powi(dispersion as i32);
    let mut below = probability;
    let mut units = 0.0;
    let most = 64.0 + 40.0 * mean;
    while share > below && units < most {
        probability *= success * (size + units) / (units + 1.0);
        below += probability;
        units += 1.0;
    }
    units as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_and_variance_of_a_negative_binomial() {
        let n = 100_000;
        let draws: Vec<f64> =
            (0..n).map(|i| negative_binomial((f64::from(i) + 0.5) / f64::from(n), 6.0, 4) as f64).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 6.0).abs() < 0.01, "{mean}");
        assert!((variance - (6.0 + 36.0 / 4.0)).abs() < 0.1, "{variance}");
    }
}
