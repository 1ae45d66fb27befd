//! The whole engine under blows from outside.

mod damage;
mod kill;
mod power;
mod stopping;
mod together;
mod workload;
