//! The whole engine under blows from outside.

mod kill;
mod workload;
