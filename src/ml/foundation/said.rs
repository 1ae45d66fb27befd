//! What a network says of some made-up series, to compare it with another one.

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::foundation::batches::fixed;
use crate::ml::foundation::corpus::Corpus;
use crate::ml::foundation::weights::read;
use crate::ml::rng::Rng;

/// Made-up series that are forecast.
const SERIES: usize = 128;
/// Their steps before and after the origin.
const STEPS: [usize; 2] = [256, 32];

/// The quantiles of every series, scaled, by the network of a file.
pub fn said(file: &[u8], control: &Control) -> Result<Vec<Vec<f32>>> {
    let network = read(file)?;
    let config = network.config();
    let (corpus, mut rng) = (Corpus::new(vec![], 0, 1.0), Rng::new(1));
    let context = STEPS[0].min(config.context_length);
    let groups: Vec<_> = (0..SERIES).map(|_| corpus.draw(&mut rng, 1, context, STEPS[1])).collect();
    let mut all = Vec::with_capacity(SERIES);
    for batch in fixed(&groups, STEPS[1], config) {
        control.check()?;
        all.extend(network.forward(&batch)?.flatten_from(1)?.to_vec2::<f32>()?);
    }
    Ok(all)
}
