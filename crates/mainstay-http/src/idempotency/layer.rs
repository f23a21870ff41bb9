//! The layer and its options.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::http::{HeaderName, header};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use tower_layer::Layer;

use super::flight::Flights;
use super::service::Idempotency;
use super::sweep::Sweep;
use crate::limit::Key;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// No key is kept longer.
const KEEP_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
const REQUEST_MAX: usize = 2 * 1024 * 1024;
const ANSWER_MAX: usize = 256 * 1024;
const WITHIN: Duration = Duration::from_secs(60);

/// The headers of an answer that are kept with it.
const HEADERS: [HeaderName; 11] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::VARY,
];

/// Reads `Idempotency-Key` of requests with unsafe methods (not GET, HEAD, OPTIONS and TRACE), for the
/// handler's [`Idempotent`](super::Idempotent) to act on. Around a `Router` or a `MethodRouter`, by `layer`
/// or `route_layer`; each route in it must use [`Idempotent`](super::Idempotent), and what does not is
/// warned of in the log.
///
/// | | answer |
/// |---|---|
/// | no key, where one is [required](Self::required) | 400, HTTP-020 |
/// | a key that is malformed, longer than 255 characters, or there twice | 400, HTTP-021 |
/// | a request with the same key is being worked on | 409, HTTP-022, Retry-After |
/// | the key was used for another request | 422, HTTP-023 |
/// | the key was used for this request | the stored answer, with `Idempotency-Replayed: true` |
/// | the body is larger than [`request_max`](Self::request_max) | 413 |
///
/// A request is the same if its method, path, query and body are, byte by byte. Of requests with a key the
/// whole body is read before the handler is called.
///
/// All clones of a layer share what they know of the work in flight: make one, and clone it.
#[derive(Clone)]
pub struct IdempotencyLayer(pub(super) Arc<Options>);

#[derive(Clone)]
pub(super) struct Options {
    pub(super) scope: Key,
    pub(super) required: bool,
    pub(super) keep: Duration,
    pub(super) request_max: usize,
    pub(super) answer_max: usize,
    pub(super) within: Duration,
    pub(super) headers: Vec<HeaderName>,
    pub(super) clock: Clock,
    pub(super) flights: Arc<Flights>,
    pub(super) sweep: Arc<Sweep>,
    /// Whether a handler was seen that does not use it.
    pub(super) warned: Arc<AtomicBool>,
}

impl IdempotencyLayer {
    /// `scope` says whose a key is: two clients may use the same one, and neither sees the other's answers.
    ///
    /// Best is what the service has checked, such as the user or the account, by [`Key::with`], with this
    /// layer inside the one that checks it; then an API key, by [`Key::header`]. With [`Key::client`] a
    /// phone that changes networks between two attempts is another client, whose effect comes a second
    /// time. A request that lacks what the key asks for belongs to its address; where that is asked for
    /// and not known, the answer is 500 with HTTP-004.
    ///
    /// Errors: HTTP-004 where a header has an impossible name.
    pub fn by(scope: Key) -> Result<Self> {
        if let Some(name) = scope.wrong_header() {
            let what = format!("no header can be called {name:?}");
            return Err(Error::new(Code::HttpOption, what));
        }
        let clock = Clock::system();
        Ok(Self(Arc::new(Options {
            scope,
            required: false,
            keep: DAY,
            request_max: REQUEST_MAX,
            answer_max: ANSWER_MAX,
            within: WITHIN,
            headers: HEADERS.into(),
            sweep: Arc::new(Sweep::new(&clock)),
            clock,
            flights: Arc::default(),
            warned: Arc::default(),
        })))
    }

    /// Refuses requests without a key. Default: their work runs as often as they come.
    pub fn required(mut self) -> Self {
        Arc::make_mut(&mut self.0).required = true;
        self
    }

    /// How long a key and its answer are kept, counted by the database's clock from when the work began:
    /// afterwards the key is as good as new. Default 24 h, at most 366 days. It must be longer than
    /// clients go on trying.
    pub fn keep_for(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.0).keep = time.clamp(Duration::from_millis(1), KEEP_MAX);
        self
    }

    /// Bytes of a request's body, at most, where it has a key. Default 2 MiB, as axum's own.
    pub fn request_max(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.0).request_max = bytes;
        self
    }

    /// Bytes of an answer's headers and body, at most. Larger ones are an error of the program: the work
    /// is rolled back, with HTTP-024. Default 256 KiB, at most 16 MiB.
    pub fn answer_max(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.0).answer_max = bytes.min(16 * 1024 * 1024);
        self
    }

    /// How long the work may take, with or without its client: then it is rolled back, with DB-035. The
    /// request's own deadline may come before. Default 60 s.
    pub fn within(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.0).within = time;
        self
    }

    /// Keeps these headers too. Default: Cache-Control, Content-Disposition, -Encoding, -Language,
    /// -Location and -Type, ETag, Last-Modified, Link, Location and Vary. Never the default: Set-Cookie,
    /// which would lie in the table for everybody who may read it.
    pub fn keep_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        Arc::make_mut(&mut self.0).headers.extend(names);
        self
    }

    /// The clock of deadlines. Default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.0).clock = clock;
        self
    }
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("scope", &self.scope)
            .field("required", &self.required)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        Idempotency { inner, options: Arc::clone(&self.0) }
    }
}
