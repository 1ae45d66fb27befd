//! The session's time zone: offsets of instants.

use arrow::array::timezone::Tz;
use chrono::{Offset, TimeZone};

/// A zone in which instants are shown.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// UTC, without a look at any table.
    Utc,
    /// Any other.
    Named(Tz),
}

impl Zone {
    /// The zone of this name; UTC where there is none.
    pub fn of(name: &str) -> Self {
        match name {
            "UTC" | "GMT" | "Etc/UTC" => Self::Utc,
            _ => name.parse().map_or(Self::Utc, Self::Named),
        }
    }

    /// Seconds east of Greenwich at an instant (microseconds since 1970).
    pub fn offset(self, micros: i64) -> i32 {
        let Self::Named(zone) = self else { return 0 };
        match zone.timestamp_micros(micros) {
            chrono::LocalResult::Single(at) | chrono::LocalResult::Ambiguous(at, _) => {
                at.offset().fix().local_minus_utc()
            }
            chrono::LocalResult::None => 0,
        }
    }
}
