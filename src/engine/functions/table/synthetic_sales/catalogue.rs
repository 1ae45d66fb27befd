//! The items of the generated shops: categories, descriptions and price schedules.

use crate::ml::rng::Rng;

/// What the items of a category have in common.
#[derive(Debug)]
pub struct Category {
    /// Its name.
    pub name: &'static str,
    /// Share of a week's demand by weekday from Monday, times 7.
    pub week: [f64; 7],
    /// Strength of the yearly season.
    pub season: f64,
    /// Day of the year on which the season peaks.
    pub peak_day: f64,
    /// Rise of demand before Christmas.
    pub gift: f64,
    /// How far demand follows the visitors of holidays.
    pub holiday_response: f64,
    /// Demand falls by this many percent when the price rises by one.
    pub elasticity: f64,
    /// Lowest and highest regular price.
    pub prices: (f64, f64),
    kinds: [&'static str; 4],
    flavours: [&'static str; 4],
    sizes: [&'static str; 3],
}

/// All categories.
pub const CATEGORIES: [Category; 8] = [
    Category {
        name: "Dairy",
        week: [0.92, 0.88, 0.92, 1.0, 1.15, 1.23, 0.9],
        season: 0.05,
        peak_day: 170.0,
        gift: 0.1,
        holiday_response: 0.8,
        elasticity: 1.3,
        prices: (0.9, 6.0),
        kinds: ["yoghurt", "milk", "butter", "cheese"],
        flavours: ["vanilla", "organic", "low-fat", "alpine"],
        sizes: ["150 g", "500 g", "1 kg"],
    },
    Category {
        name: "Bakery",
        week: [0.85, 0.85, 0.9, 0.95, 1.1, 1.35, 1.0],
        season: 0.04,
        peak_day: 350.0,
        gift: 0.3,
        holiday_response: 0.9,
        elasticity: 1.0,
        prices: (0.6, 5.5),
        kinds: ["bread", "rolls", "croissant", "cake"],
        flavours: ["rye", "wholegrain", "butter", "walnut"],
        sizes: ["2 pieces", "6 pieces", "750 g"],
    },
    Category {
        name: "Beverages",
        week: [0.85, 0.85, 0.9, 1.0, 1.25, 1.3, 0.85],
        season: 0.35,
        peak_day: 195.0,
        gift: 0.1,
        holiday_response: 1.1,
        elasticity: 2.0,
        prices: (0.7, 12.0),
        kinds: ["lemonade", "mineral water", "iced tea", "juice"],
        flavours: ["citrus", "peach", "sparkling", "apple"],
        sizes: ["0.5 l", "1 l", "6 x 1.5 l"],
    },
    Category {
        name: "Snacks",
        week: [0.85, 0.85, 0.9, 1.0, 1.2, 1.3, 0.9],
        season: 0.08,
        peak_day: 330.0,
        gift: 0.4,
        holiday_response: 1.2,
        elasticity: 2.2,
        prices: (0.8, 5.0),
        kinds: ["crisps", "chocolate", "cookies", "nuts"],
        flavours: ["paprika", "dark", "hazelnut", "salted"],
        sizes: ["100 g", "200 g", "family pack"],
    },
    Category {
        name: "Frozen",
        week: [0.95, 0.9, 0.95, 1.0, 1.15, 1.2, 0.85],
        season: 0.3,
        peak_day: 190.0,
        gift: 0.05,
        holiday_response: 0.9,
        elasticity: 1.7,
        prices: (1.5, 9.0),
        kinds: ["ice cream", "pizza", "vegetables", "fish fillets"],
        flavours: ["strawberry", "margherita", "garden", "crispy"],
        sizes: ["350 g", "500 ml", "1 kg"],
    },
    Category {
        name: "Household",
        week: [1.0, 0.95, 0.95, 1.0, 1.05, 1.2, 0.85],
        season: 0.03,
        peak_day: 90.0,
        gift: 0.0,
        holiday_response: 0.6,
        elasticity: 1.5,
        prices: (1.2, 18.0),
        kinds: ["detergent", "paper towels", "dish soap", "bin bags"],
        flavours: ["fresh", "sensitive", "lemon", "strong"],
        sizes: ["single pack", "3-pack", "value pack"],
    },
    Category {
        name: "Toys",
        week: [0.75, 0.75, 0.8, 0.9, 1.2, 1.6, 1.0],
        season: 0.15,
        peak_day: 345.0,
        gift: 1.3,
        holiday_response: 1.0,
        elasticity: 1.8,
        prices: (4.0, 60.0),
        kinds: ["puzzle", "building set", "board game", "plush bear"],
        flavours: ["classic", "wooden", "adventure", "mini"],
        sizes: ["for ages 3+", "for ages 6+", "for ages 10+"],
    },
    Category {
        name: "Garden",
        week: [0.8, 0.8, 0.85, 0.9, 1.15, 1.55, 0.95],
        season: 0.9,
        peak_day: 135.0,
        gift: -0.3,
        holiday_response: 0.9,
        elasticity: 1.6,
        prices: (2.0, 45.0),
        kinds: ["potting soil", "flower seeds", "watering can", "fertiliser"],
        flavours: ["premium", "wildflower", "compact", "universal"],
        sizes: ["small", "medium", "large"],
    },
];

/// Days on which an item has one price.
#[derive(Debug, Clone, Copy)]
pub struct PricePeriod {
    /// One past the last day.
    pub end: usize,
    /// The price.
    pub price: f64,
    /// True while the item is promoted.
    pub promo: bool,
    /// What price and promotion do to demand.
    pub response: f64,
}

/// One item, the same in all stores.
#[derive(Debug)]
pub struct Item {
    /// Index in [`CATEGORIES`].
    pub category: usize,
    /// Words for people and for text models.
    pub description: String,
    /// Units of an average day in an average store.
    pub level: f64,
    /// True for an item that sells on few days only.
    pub intermittent: bool,
    /// Its prices, one period after the other to the last day.
    pub prices: Vec<PricePeriod>,
}

impl Item {
    /// The item that this generator draws, with prices for `days` days.
    pub fn draw(mut rng: Rng, days: usize) -> Self {
        let category = rng.below(CATEGORIES.len());
        let about = &CATEGORIES[category];
        let (low, high) = about.prices;
        let regular = low * (high / low).powf(rng.uniform());
        let (kind, flavour) = (rng.below(about.kinds.len()), rng.below(about.flavours.len()));
        let size = rng.below(about.sizes.len());
        let description = format!("{} {}, {}", about.flavours[flavour], about.kinds[kind], about.sizes[size]);
        let intermittent = rng.chance(0.15);
        let level = (1.9 + 0.8 * rng.normal() - 0.25 * (regular / low).ln()).exp().clamp(0.5, 150.0);
        let prices = draw_prices(&mut rng, regular, about.elasticity, days);
        Self { category, description, level, intermittent, prices }
    }
}

fn draw_prices(rng: &mut Rng, regular: f64, elasticity: f64, days: usize) -> Vec<PricePeriod> {
    let mut periods = vec![];
    let (mut day, mut price) = (0, price_tag(regular));
    let mut promo = false;
    while day < days {
        let end = if promo {
            day + 5 + rng.below(10)
        } else {
            day + 14 + (rng.exponential() * 40.0).min(400.0) as usize
        };
        if !promo && day > 0 && rng.chance(0.3) {
            price = price_tag(price * (1.0 + 0.02 + 0.03 * rng.normal()).clamp(0.85, 1.2));
        }
        let discount = if promo { 0.1 + 0.05 * rng.below(7) as f64 } else { 0.0 };
        let display = if promo { 1.1 + 0.5 * rng.uniform() } else { 1.0 };
        let paid = if promo { price_tag(price * (1.0 - discount)) } else { price };
        let response = (paid / regular).powf(-elasticity) * display;
        periods.push(PricePeriod { end: end.min(days), price: paid, promo, response });
        (day, promo) = (end, !promo);
    }
    periods
}

/// The nearest price that ends in 9 cents.
fn price_tag(price: f64) -> f64 {
    let dimes = (price * 10.0).round().max(2.0);
    (dimes * 10.0 - 1.0) / 100.0
}
