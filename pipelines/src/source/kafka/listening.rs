//! Whether anybody listens at a broker's address, found out by connecting.
//!
//! librdkafka tries on for ever and says nothing of the difference between a broker that is slow, or starting, and an
//! address where every connection is refused. The second will hardly mend itself while somebody waits.

use crate::source::error::SourceError;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long refused connections are tried again: a broker may be about to listen.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// How long one connection may take.
const CONNECT: Duration = Duration::from_millis(300);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// What librdkafka adds to an address without a port.
const DEFAULT_PORT: u16 = 9092;

/// Waits until anybody may be there: returns at once unless every address of `bootstrap` refuses connections. An address
/// that is slow, or not known by name, may still become one.
///
/// # Errors
/// [`SourceError::Unreachable`] when all have refused for 3 s, or for `patience` where that is shorter.
pub(in crate::source) fn wait(bootstrap: &str, patience: Duration) -> Result<(), SourceError> {
    let patience = patience.min(REFUSED_FOR);
    let began = Instant::now();
    while all_refuse(bootstrap) {
        if began.elapsed() >= patience {
            return Err(SourceError::Unreachable {
                bootstrap: bootstrap.to_owned(),
                waited: patience,
                reason: "connection refused: nobody listens there".to_owned(),
            });
        }
        // Somebody may be about to listen; there is nothing that would tell.
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}

fn all_refuse(bootstrap: &str) -> bool {
    let mut addresses = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()).peekable();
    addresses.peek().is_some() && addresses.all(refuses)
}

/// True if the name is known, and each of its addresses answers that nobody listens.
fn refuses(address: &str) -> bool {
    let Ok(resolved) = with_port(address).to_socket_addrs() else { return false };
    let mut resolved = resolved.peekable();
    let refused = |address| {
        TcpStream::connect_timeout(&address, CONNECT).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    resolved.peek().is_some() && resolved.all(refused)
}

/// `host:port` of an address as librdkafka takes it: a protocol before it and the port may be there or not.
fn with_port(address: &str) -> String {
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    let host_end = address.rfind(']').map_or(0, |at| at + 1);
    match address[host_end..].contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        (listener, address)
    }

    #[test]
    fn refused_connections_end_the_wait_and_say_so() {
        let (listener, address) = listener();
        drop(listener);
        let error = wait(&address, Duration::from_millis(200)).expect_err("nobody is there");
        assert!(error.to_string().contains("refused"), "{error}");
        let began = Instant::now();
        assert!(wait(&address, Duration::from_secs(30)).is_err());
        assert!((REFUSED_FOR..Duration::from_secs(15)).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[test]
    fn an_address_that_may_become_a_broker_is_left_to_librdkafka() {
        let (_listening, there) = listener();
        let (gone, refusing) = listener();
        drop(gone);
        for address in [there.as_str(), "no-such-host.invalid:9092", ""] {
            assert!(!all_refuse(address), "{address}");
        }
        assert!(!all_refuse(&format!("{refusing}, {there}")), "one of several is enough");
        assert!(all_refuse(&format!("PLAINTEXT://{refusing},{refusing}")));
    }

    #[test]
    fn addresses_are_read_as_librdkafka_reads_them() {
        let examples = [
            ("host", "host:9092"),
            ("host:1", "host:1"),
            ("SASL_SSL://host", "host:9092"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:1", "[::1]:1"),
        ];
        examples.iter().for_each(|(given, read)| assert_eq!(with_port(given), *read));
    }
}
