//! The part of librdkafka's interface that rdkafka does not wrap: several partitions read through one queue, in arrays.
//!
//! Everything unsafe about reading is in this file; what it offers is safe. librdkafka's handles may be used by any
//! thread; what they point to lives until `rd_kafka_destroy`, which waits for librdkafka's own threads. So a [`Queue`]
//! and a [`TopicHandle`] hold their [`Client`], and a [`Message`] is destroyed before its queue.

use crate::source::error::SourceError;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka_sys as sys;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::debug;

/// What librdkafka's threads tell us between answers.
#[derive(Debug, Default)]
struct Events {
    all_down: AtomicBool,
    last: Mutex<Option<String>>,
}

/// One librdkafka consumer instance without a consumer group.
#[derive(Debug)]
pub(in crate::source) struct Client {
    native: NonNull<sys::rd_kafka_t>,
    events: Arc<Events>,
}

// SAFETY: librdkafka's functions on `rd_kafka_t` are thread-safe (its manual, "Threads and callbacks").
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// A client with these properties. Connecting happens in the background, and for ever.
    ///
    /// # Errors
    /// [`SourceError::Property`] for a property that librdkafka refuses.
    pub(in crate::source) fn new(config: &ClientConfig) -> Result<Arc<Self>, SourceError> {
        let native = config.create_native_config().map_err(refused)?;
        let events = Arc::new(Events::default());
        let mut reason = [0 as c_char; 512];
        // SAFETY: `native` owns a valid configuration. The opaque pointer stays valid: `events` is dropped after
        // `rd_kafka_destroy`, after which librdkafka calls nobody. `rd_kafka_new` takes the configuration only when it
        // succeeds, so it is forgotten only then. `reason` is as long as we say.
        let client = unsafe {
            sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
            sys::rd_kafka_conf_set_opaque(native.ptr(), Arc::as_ptr(&events).cast_mut().cast());
            sys::rd_kafka_new(sys::rd_kafka_type_t::RD_KAFKA_CONSUMER, native.ptr(), reason.as_mut_ptr(), reason.len())
        };
        let Some(client) = NonNull::new(client) else {
            // SAFETY: librdkafka terminates the text within the buffer.
            let reason = unsafe { text(reason.as_ptr()) };
            return Err(SourceError::Property { property: String::new(), reason });
        };
        std::mem::forget(native);
        Ok(Arc::new(Self { native: client, events }))
    }

    /// librdkafka's own pointer, for the questions of [`crate::source::topics`].
    pub(in crate::source) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.native.as_ptr()
    }

    /// Lets librdkafka deliver what it has to say. Returns whether all brokers went away since the last call.
    pub(in crate::source) fn poll(&self) -> bool {
        // SAFETY: the handle is valid; without a consumer queue, this serves callbacks only.
        unsafe { sys::rd_kafka_poll(self.ptr(), 0) };
        self.events.all_down.swap(false, Ordering::SeqCst)
    }

    /// The newest complaint, such as `Connection refused`.
    pub(in crate::source) fn last_complaint(&self) -> Option<String> {
        self.events.last.lock().clone()
    }

    /// The end of a partition as the newest fetch has seen it; none before the first.
    pub(in crate::source) fn cached_end(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the handle and the text are valid, both results are written before it returns.
        let code =
            unsafe { sys::rd_kafka_get_watermark_offsets(self.ptr(), topic.as_ptr(), partition, &mut low, &mut high) };
        (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: nothing else can use the handle any more: queues and topics hold the client that is being dropped.
        unsafe { sys::rd_kafka_destroy(self.ptr()) }
    }
}

/// Says which property it was, where rdkafka knows.
pub(in crate::source) fn refused(error: rdkafka::error::KafkaError) -> SourceError {
    match error {
        rdkafka::error::KafkaError::ClientConfig(_, reason, property, _) => SourceError::Property { property, reason },
        other => SourceError::Client { what: "a client".to_owned(), reason: other.to_string() },
    }
}

/// # Safety
/// `from` must be null or point to a terminated text.
pub(in crate::source) unsafe fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: not null, and terminated, as the caller says.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

/// What an error code says in English.
pub(in crate::source) fn describe(code: sys::rd_kafka_resp_err_t) -> String {
    // SAFETY: the text is static.
    unsafe { text(sys::rd_kafka_err2str(code)) }
}

/// librdkafka repeats itself while a broker is down; what matters we say ourselves, once.
unsafe extern "C" fn on_log(_: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: librdkafka passes terminated texts that live during the call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    debug!(level, facility, "librdkafka: {line}");
}

unsafe extern "C" fn on_error(_: *mut sys::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque pointer is the `Events` of the client that calls, alive until after its destruction; the reason
    // is a terminated text.
    let (events, reason) = unsafe { (&*opaque.cast::<Events>(), text(reason)) };
    debug!(code, "librdkafka: {reason}");
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int {
        events.all_down.store(true, Ordering::SeqCst);
    } else {
        *events.last.lock() = Some(reason);
    }
}

/// A topic of a client; partitions are started and stopped through it.
#[derive(Debug)]
pub(super) struct TopicHandle {
    native: NonNull<sys::rd_kafka_topic_t>,
    _client: Arc<Client>,
}

// SAFETY: topic handles are reference-counted inside librdkafka and thread-safe like the client.
unsafe impl Send for TopicHandle {}

impl TopicHandle {
    /// The topic `name`; it need not exist.
    ///
    /// # Errors
    /// [`SourceError::Client`] for a name that is none.
    pub(super) fn new(client: &Arc<Client>, name: &str) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::Client { what: format!("topic {name}"), reason };
        let c_name = CString::new(name).map_err(|error| failed(error.to_string()))?;
        // SAFETY: client and name are valid; a null configuration means the client's.
        let native = unsafe { sys::rd_kafka_topic_new(client.ptr(), c_name.as_ptr(), std::ptr::null_mut()) };
        let native = NonNull::new(native).ok_or_else(|| failed(last_error()))?;
        Ok(Self { native, _client: client.clone() })
    }

    /// What messages of this topic carry as [`Message::topic`].
    pub(super) fn identity(&self) -> usize {
        self.native.as_ptr() as usize
    }

    /// Fetches `partition` from `offset` on, into `queue`.
    ///
    /// # Errors
    /// [`SourceError::Client`] with what librdkafka says.
    pub(super) fn start(&self, partition: i32, offset: i64, queue: &Queue) -> Result<(), SourceError> {
        // SAFETY: topic and queue are valid and belong to the same client.
        let code = unsafe {
            sys::rd_kafka_consume_start_queue(self.native.as_ptr(), partition, offset, queue.native.as_ptr())
        };
        self.checked(code, partition)
    }

    /// Stops fetching `partition` and forgets what was fetched ahead. Waits for librdkafka's own thread, not for a broker.
    ///
    /// # Errors
    /// [`SourceError::Client`] with what librdkafka says.
    pub(super) fn stop(&self, partition: i32) -> Result<(), SourceError> {
        // SAFETY: the topic is valid; a partition that was never started is an error, not undefined.
        let code = unsafe { sys::rd_kafka_consume_stop(self.native.as_ptr(), partition) };
        self.checked(code, partition)
    }

    fn checked(&self, code: c_int, partition: i32) -> Result<(), SourceError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the topic is valid, and so is its name.
        let name = unsafe { text(sys::rd_kafka_topic_name(self.native.as_ptr())) };
        Err(SourceError::Client { what: format!("{name}/{partition}"), reason: last_error() })
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that `new` took.
        unsafe { sys::rd_kafka_topic_destroy(self.native.as_ptr()) }
    }
}

fn last_error() -> String {
    // SAFETY: reads the calling thread's last error.
    describe(unsafe { sys::rd_kafka_last_error() })
}

/// The queue that all partitions of one client flow into.
#[derive(Debug)]
pub(super) struct Queue {
    native: NonNull<sys::rd_kafka_queue_t>,
    client: Arc<Client>,
}

// SAFETY: queues are thread-safe: librdkafka locks each operation.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue of `client` that also takes what the client has to say, so that reading serves its callbacks.
    pub(super) fn new(client: &Arc<Client>) -> Self {
        // SAFETY: the client is valid; `rd_kafka_queue_new` never returns null, and the main queue is given back.
        let native = unsafe {
            let queue = sys::rd_kafka_queue_new(client.ptr());
            let main = sys::rd_kafka_queue_get_main(client.ptr());
            sys::rd_kafka_queue_forward(main, queue);
            sys::rd_kafka_queue_destroy(main);
            NonNull::new(queue).expect("librdkafka aborts when it is out of memory")
        };
        Self { native, client: client.clone() }
    }

    /// Appends up to `at_most` messages, waiting until there are so many or `patience` is over. Returns how many.
    pub(super) fn drain(&self, at_most: usize, patience: Duration, into: &mut Vec<Message>) -> usize {
        into.reserve(at_most);
        let patience_ms = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
        let start = into.len();
        // SAFETY: there is room for `at_most` pointers after the vector's length. librdkafka writes the returned number
        // of them, each a message that is ours and not null. `Message` is a transparent wrapper of such a pointer.
        unsafe {
            let room = into.as_mut_ptr().add(start).cast::<*mut sys::rd_kafka_message_t>();
            let count = sys::rd_kafka_consume_batch_queue(self.native.as_ptr(), patience_ms, room, at_most);
            let count = usize::try_from(count).unwrap_or(0).min(at_most);
            into.set_len(start + count);
            count
        }
    }

    /// Has a [`Queue::drain`] that waits return now.
    pub(super) fn wake(&self) {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_yield(self.native.as_ptr()) }
    }

    /// Messages that wait.
    #[cfg(test)]
    pub(super) fn length(&self) -> usize {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_length(self.native.as_ptr()) }
    }

    /// The client it belongs to.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: gives the main queue its own life back, then our reference to the queue, once.
        unsafe {
            let main = sys::rd_kafka_queue_get_main(self.client.ptr());
            sys::rd_kafka_queue_forward(main, std::ptr::null_mut());
            sys::rd_kafka_queue_destroy(main);
            sys::rd_kafka_queue_destroy(self.native.as_ptr());
        }
    }
}

/// A record, or an event of a partition, as librdkafka holds it.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: whoever holds the message owns it; librdkafka counts references to what it points to atomically.
unsafe impl Send for Message {}

impl Message {
    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: ours until dropped, and nobody writes to it.
        unsafe { self.0.as_ref() }
    }

    /// The topic it belongs to, as [`TopicHandle::identity`]; 0 for an event of no topic.
    pub(super) fn topic(&self) -> usize {
        self.get().rkt as usize
    }

    /// The topic's name.
    pub(super) fn topic_name(&self) -> String {
        if self.get().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message holds its topic.
        unsafe { text(sys::rd_kafka_topic_name(self.get().rkt)) }
    }

    /// The partition.
    pub(super) fn partition(&self) -> i32 {
        self.get().partition
    }

    /// The record's offset; of an event, the next one to read.
    pub(super) fn offset(&self) -> i64 {
        self.get().offset
    }

    /// None for a record, else what happened.
    pub(super) fn event(&self) -> Option<sys::rd_kafka_resp_err_t> {
        let code = self.get().err;
        (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(code)
    }

    /// What happened, in words.
    pub(super) fn event_text(&self) -> String {
        // SAFETY: the message is valid; the text lives as long as it.
        unsafe { text(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// The payload; none for a tombstone.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        let message = self.get();
        // SAFETY: librdkafka gives pointer and length of memory that lives as long as the message.
        unsafe { bytes(message.payload, message.len) }
    }

    /// The key.
    pub(super) fn key(&self) -> Option<&[u8]> {
        let message = self.get();
        // SAFETY: as for the payload.
        unsafe { bytes(message.key, message.key_len) }
    }

    /// The broker's timestamp in milliseconds since 1970, where it gave one.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid, and `kind` is written before it returns.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time != -1).then_some(time)
    }

    /// The headers in their order, names and values; parsed only here.
    pub(super) fn headers(&self) -> Vec<(String, Option<&[u8]>)> {
        let mut headers = std::ptr::null_mut();
        let mut found = Vec::new();
        // SAFETY: the message is valid. Names and values live as long as the headers, which the message owns.
        unsafe {
            let code = sys::rd_kafka_message_headers(self.0.as_ptr(), &mut headers);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
                return found;
            }
            let (mut name, mut value, mut length) = (std::ptr::null(), std::ptr::null(), 0);
            while sys::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut length)
                == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                found.push((text(name), bytes(value, length)));
            }
        }
        found
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, and dropped once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `from` must be null or point to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(from: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!from.is_null()).then(|| unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) })
}
