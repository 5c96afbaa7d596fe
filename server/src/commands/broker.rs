//! `thermocline broker`: the embedded broker alone.

use crate::cli::BrokerArgs;
use crate::report::say;
use anyhow::{Context, Result};
use std::process::ExitCode;
use thermocline_broker::{Broker, BrokerConfig, Fsync};

/// The broker's folder in a data directory.
pub(crate) const FOLDER: &str = "broker";

pub(crate) async fn run(args: BrokerArgs) -> Result<ExitCode> {
    let config = BrokerConfig {
        data_dir: args.data.data.join(FOLDER),
        host: args.host,
        port: args.port,
        fsync: if args.sync { Fsync::EveryBatch } else { Fsync::Never },
        ..BrokerConfig::default()
    };
    let broker = Broker::start(config).await.context("the broker cannot start")?;
    say!("broker   {}", broker.bootstrap());
    say!("data     {}", args.data.data.join(FOLDER).display());
    say!("write    thermocline produce --kafka {} --topic TOPIC FILE", broker.bootstrap());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    broker.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
