//! Holidays of American countries.

use chrono::Weekday::{Mon, Thu};

use crate::ml::holidays::rule::{Rule, easter, fixed, nth, on_or_after};

/// Federal holidays, 5 U.S.C. 6103.
pub(super) const UNITED_STATES: &[Rule] = &[
    fixed("New Year's Day", 1, 1).observed(),
    nth("Martin Luther King Jr. Day", 1, Mon, 3).from(1986),
    nth("Washington's Birthday", 2, Mon, 3),
    nth("Memorial Day", 5, Mon, -1),
    fixed("Juneteenth", 6, 19).from(2021).observed(),
    fixed("Independence Day", 7, 4).observed(),
    nth("Labor Day", 9, Mon, 1),
    nth("Columbus Day", 10, Mon, 2),
    fixed("Veterans Day", 11, 11).observed(),
    nth("Thanksgiving Day", 11, Thu, 4),
    fixed("Christmas Day", 12, 25).observed(),
];

/// General holidays of the Canada Labour Code.
pub(super) const CANADA: &[Rule] = &[
    fixed("New Year's Day", 1, 1).observed(),
    easter("Good Friday", -2),
    on_or_after("Victoria Day", 5, 18, Mon),
    fixed("Canada Day", 7, 1).observed(),
    nth("Labour Day", 9, Mon, 1),
    fixed("National Day for Truth and Reconciliation", 9, 30).from(2021),
    nth("Thanksgiving", 10, Mon, 2),
    fixed("Remembrance Day", 11, 11),
    fixed("Christmas Day", 12, 25).observed(),
    fixed("Boxing Day", 12, 26).observed(),
];

/// National holidays by law; Carnival and Corpus Christi are up to others.
pub(super) const BRAZIL: &[Rule] = &[
    fixed("New Year's Day", 1, 1),
    easter("Good Friday", -2),
    fixed("Tiradentes Day", 4, 21),
    fixed("Labour Day", 5, 1),
    fixed("Independence Day", 9, 7),
    fixed("Our Lady of Aparecida", 10, 12),
    fixed("All Souls' Day", 11, 2),
    fixed("Republic Day", 11, 15),
    fixed("Black Awareness Day", 11, 20).from(2024),
    fixed("Christmas Day", 12, 25),
];

/// Mandatory days of rest, Ley Federal del Trabajo, article 74.
pub(super) const MEXICO: &[Rule] = &[
    fixed("New Year's Day", 1, 1),
    fixed("Constitution Day", 2, 5).until(2005),
    nth("Constitution Day", 2, Mon, 1).from(2006),
    fixed("Benito Juárez's Birthday", 3, 21).until(2006),
    nth("Benito Juárez's Birthday", 3, Mon, 3).from(2007),
    fixed("Labour Day", 5, 1),
    fixed("Independence Day", 9, 16),
    fixed("Revolution Day", 11, 20).until(2005),
    nth("Revolution Day", 11, Mon, 3).from(2006),
    super::rule::listed(
        "Change of Federal Government",
        &[19941201, 20001201, 20061201, 20121201, 20181201, 20241001, 20301001, 20361001, 20421001, 20481001],
    ),
    fixed("Christmas Day", 12, 25),
];
