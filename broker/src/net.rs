//! Connections: frames in, frames out, one request of a connection at a time, as Kafka does it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::api::{self, Outcome};
use crate::node::Node;

/// What a connection's buffer starts with.
const BUFFER_BYTES: usize = 64 << 10;
/// How long the accept loop rests when the process has no file handles left.
const REST: Duration = Duration::from_millis(100);
/// How long a client may take to read an answer once the broker stops.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Accepts connections until the broker stops; each lives in a task of `tasks`.
pub(crate) async fn accept(listener: TcpListener, node: Arc<Node>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = node.stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let node = Arc::clone(&node);
                tasks.spawn(async move {
                    match serve(&node, socket, peer).await {
                        Ok(()) => debug!(%peer, "connection closed"),
                        Err(error) => debug!(%peer, %error, "connection lost"),
                    }
                });
            }
            Err(error) => {
                warn!(%error, "connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Answers the requests of one connection until either side ends it.
async fn serve(node: &Arc<Node>, mut socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut socket, &mut buffer, node.config.max_request_bytes) => frame?,
            () = node.stop.cancelled() => return Ok(()),
        };
        let Some(frame) = frame else { return Ok(()) };
        match api::answer(node, frame, peer, local).await {
            Outcome::Reply(bytes) => {
                let written = socket.write_all(&bytes);
                tokio::select! {
                    written = written => written?,
                    () = stopped_for(node, LAST_WRITE) => return Ok(()),
                }
            }
            Outcome::Silence => {}
            Outcome::Close(why) => {
                warn!(%peer, error = why, "connection closed, its request cannot be answered");
                return Ok(());
            }
        }
    }
}

async fn stopped_for(node: &Node, time: Duration) {
    node.stop.cancelled().await;
    tokio::time::sleep(time).await;
}

/// Reads one request without its length; `None` when the client closed the connection between requests.
async fn read_frame(socket: &mut TcpStream, buffer: &mut BytesMut, most: usize) -> io::Result<Option<Bytes>> {
    loop {
        if buffer.len() >= 4 {
            let length = (&buffer[..4]).get_i32();
            let length = usize::try_from(length).ok().filter(|length| *length <= most).ok_or_else(|| {
                let text = format!("a request of {length} bytes; at most {most} are read, is this a Kafka client?");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            if buffer.len() >= 4 + length {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(length).freeze()));
            }
            buffer.reserve(4 + length - buffer.len());
        } else {
            buffer.reserve(BUFFER_BYTES);
        }
        if socket.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}
