//! How alike two networks forecast.

use std::time::Instant;

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::foundation::batches::fixed;
use crate::ml::foundation::corpus::Corpus;
use crate::ml::foundation::network::FoundationNetwork;
use crate::ml::foundation::weights::read;
use crate::ml::rng::Rng;

/// Made-up series that are forecast.
const SERIES: usize = 128;
/// Their steps before and after the origin.
const STEPS: [usize; 2] = [256, 32];

/// Seconds that the networks of two files need to forecast some made-up series, and 1 less how far their quantiles differ,
/// relative to how large those of the first one are.
pub fn alike(old: &[u8], new: &[u8], control: &Control) -> Result<([f64; 2], f64)> {
    let (old, new) = (read(old)?, read(new)?);
    let config = old.config();
    let (corpus, mut rng) = (Corpus::new(vec![], 0, 1.0), Rng::new(1));
    let context = STEPS[0].min(config.context_length);
    let groups: Vec<_> = (0..SERIES).map(|_| corpus.draw(&mut rng, 1, context, STEPS[1])).collect();
    let batches = fixed(&groups, STEPS[1], config);
    let forecast = |network: &FoundationNetwork| {
        let (started, mut all) = (Instant::now(), Vec::new());
        for batch in &batches {
            control.check()?;
            all.extend(network.forward(batch)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok::<_, crate::error::Error>((all, started.elapsed().as_secs_f64()))
    };
    let ((before, old), (after, new)) = (forecast(&old)?, forecast(&new)?);
    let size: f64 = before.iter().map(|x| f64::from(x.abs())).sum();
    let apart: f64 = before.iter().zip(&after).map(|(a, b)| f64::from((a - b).abs())).sum();
    Ok(([old, new], 1.0 - apart / size.max(f64::MIN_POSITIVE)))
}
