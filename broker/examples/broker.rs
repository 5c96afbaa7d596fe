//! A broker of its own: `cargo run --release -p thermocline-broker --example broker -- DATA_DIR [PORT] [--fsync]`.
//!
//! Prints the bootstrap address as its first line and runs until it is interrupted or its standard input ends in a
//! line `stop`.

use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::time::Duration;

use thermocline_broker::{Broker, BrokerConfig, Fsync};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let fsync = arguments.iter().any(|argument| argument == "--fsync");
    arguments.retain(|argument| argument != "--fsync");
    let data_dir = arguments.first().map(PathBuf::from).ok_or("usage: broker DATA_DIR [PORT] [--fsync]")?;
    let port = arguments.get(1).map(|port| port.parse()).transpose()?.unwrap_or(0);
    let fsync = if fsync { Fsync::EveryBatch } else { Fsync::Never };
    let lock_wait = Duration::from_secs(2);
    let broker = Broker::start(BrokerConfig { data_dir, port, fsync, lock_wait, ..BrokerConfig::default() }).await?;
    println!("{}", broker.bootstrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        if stdin().lock().lines().map_while(Result::ok).any(|line| line == "stop") {
            let _ = stop.send(());
        } else {
            // No more input is not a wish to stop.
            std::mem::forget(stop);
        }
    });
    tokio::select! {
        _ = stopped => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    broker.shutdown().await;
    Ok(())
}
