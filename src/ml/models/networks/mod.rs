//! Networks over windows of all series: how they learn and forecast, and the bodies that differ.

mod body;
mod decoder;
mod dlinear;
mod forecast;
mod head;
mod inputs;
mod learner;
mod network;
mod recurrent;
#[cfg(test)]
mod tests;
mod tide;
mod transformer;
mod windows;

pub(super) use body::Architecture;
pub(super) use learner::NetworkLearner;
