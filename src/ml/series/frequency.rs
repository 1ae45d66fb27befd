//! The regular time grid of a panel: instants to period numbers and back.

use serde::{Deserialize, Serialize};

/// The step of a time grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Frequency {
    /// Every `n` units of an integer time column.
    Integer(i64),
    /// Every `n` seconds (minutes and hours too).
    Seconds(i64),
    /// Every `n` civil days; 7 is a week, anchored on the weekday of the data.
    Days(i64),
    /// Every `n` civil months; 3 is a quarter, 12 a year.
    Months(i64),
}
