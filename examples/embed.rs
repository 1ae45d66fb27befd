//! Foretell inside a program: open, load, train with progress and a limit, stream the forecast.
//!
//! Run it: `cargo run --release --example embed`

use std::error::Error;
use std::time::{Duration, Instant};

use arrow::util::pretty::pretty_format_batches;
use foretell::engine::{Database, Session};
use tokio::time::{interval, sleep};

const TRAIN: &str = "
    TRAIN FORECAST MODEL units_14 ON sales
      TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
      STATIC category PAST price, promo, in_stock
      HORIZON 14 WITH (epochs = 5, seed = 1)";

/// Longer than this, and the program gives up on the training.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The engine's own threads share the work: Candle's would only wait, at full speed.
    // SAFETY: no other thread has started that could read the environment.
    unsafe { std::env::set_var(foretell::CANDLE_THREADS, "1") };

    // `Database::open("shop")` keeps everything in the directory `shop`; this one goes with the program.
    let database = Database::temporary()?;
    let session = database.session();

    let load = "CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 10, days => 400, seed => 1)";
    session.sql(load).await?.collect().await?;

    train(&session).await?;
    stream(&session).await
}

/// Trains, tells its progress every second, and stops it when it takes too long.
async fn train(session: &Session) -> Result<(), Box<dyn Error>> {
    let query = session.sql(TRAIN).await?;
    let (cancel, progress) = (query.cancel_handle(), query.progress());
    let started = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    let trained = query.collect();
    tokio::pin!(trained);
    let result = loop {
        tokio::select! {
            result = &mut trained => break result?,
            _ = sleep(PATIENCE.saturating_sub(started.elapsed())) => cancel.cancel(),
            _ = tick.tick() => {
                if let Some(now) = progress.get() {
                    println!("{:>3.0} %  {}  epoch {} of {}", now.fraction * 100.0, now.phase, now.epoch, now.epochs);
                }
            }
        }
    };
    println!("{}", pretty_format_batches(&result)?);
    Ok(())
}

/// Reads the forecast batch by batch: memory stays small however many series there are.
async fn stream(session: &Session) -> Result<(), Box<dyn Error>> {
    let mut forecast = session.sql("SELECT * FROM forecast(units_14)").await?;
    let mut rows = 0;
    while let Some(batch) = forecast.next().await? {
        if rows == 0 {
            println!("{}", pretty_format_batches(&[batch.slice(0, batch.num_rows().min(5))])?);
        }
        rows += batch.num_rows();
    }
    println!("{rows} rows, command tag {}", forecast.tag());
    Ok(())
}
