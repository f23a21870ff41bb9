//! Changes between versions, and chains of them. A handler is written for the newest types alone; what
//! older callers send is lifted to them, and what they get is lowered, change by change.
//!
//! Everything is typed: no JSON is patched, and a body is read and written once, however many changes
//! there are.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Version;
use crate::problem::Answer;

/// One change of what a route takes and gives.
///
/// ```
/// use mainstay_http::{Answer, Change, Version};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)] struct Old { name: String }
/// #[derive(Deserialize)] struct New { first: String, last: String }
/// #[derive(Serialize)] struct OldSaved { id: u64 }
/// #[derive(Serialize)] struct NewSaved { id: String }
///
/// /// Names have two parts, and ids are text.
/// struct NamesAreSplit;
///
/// impl Change for NamesAreSplit {
///     const SINCE: Version = Version::number(2);
///     type OldRequest = Old;
///     type NewRequest = New;
///     type OldResponse = OldSaved;
///     type NewResponse = NewSaved;
///
///     fn lift(old: Old) -> Answer<New> {
///         let (first, last) = old.name.split_once(' ').unwrap_or((&old.name, ""));
///         Ok(New { first: first.into(), last: last.into() })
///     }
///
///     fn lower(new: NewSaved) -> Answer<OldSaved> {
///         Ok(OldSaved { id: new.id.parse().unwrap_or(0) })
///     }
/// }
/// ```
pub trait Change: 'static {
    /// The version that came with it: older ones send and get the old types.
    const SINCE: Version;
    /// What older versions send; `()` for nothing.
    type OldRequest: DeserializeOwned + Send;
    /// What is made of it.
    type NewRequest: DeserializeOwned + Send;
    /// What older versions get.
    type OldResponse: Serialize;
    /// What it is made of.
    type NewResponse: Serialize;

    /// An old request as a new one. What can't be said any more is a [`Problem`](crate::Problem).
    fn lift(old: Self::OldRequest) -> Answer<Self::NewRequest>;

    /// A new response as an old one. It is called after the handler has done its work: what can't be
    /// told to an old caller should be told as nearly as possible, rather than refused.
    fn lower(new: Self::NewResponse) -> Answer<Self::OldResponse>;
}

/// All changes of a route, as a tuple from the oldest to the newest, of twelve at most: `(V2, V3)`.
///
/// The compiler checks that each takes up where the one before ended, in both directions:
///
/// ```compile_fail,E0271
/// # use mainstay_http::{Answer, Change, Changes, Version};
/// # macro_rules! change { ($name:ident, $since:literal, $old:ty => $new:ty) => {
/// #     struct $name;
/// #     impl Change for $name {
/// #         const SINCE: Version = Version::number($since);
/// #         type OldRequest = $old;
/// #         type NewRequest = $new;
/// #         type OldResponse = $old;
/// #         type NewResponse = $new;
/// #         fn lift(_: $old) -> Answer<$new> { Ok(Default::default()) }
/// #         fn lower(_: $new) -> Answer<$old> { Ok(Default::default()) }
/// #     }
/// # } }
/// change!(V2, 2, u8 => u16);
/// change!(V3, 3, u32 => u64); // takes a u32 where V2 gives a u16
/// fn chain<C: Changes>() {}
/// chain::<(V2, V3)>();
/// ```
///
/// and, when the chain is used, that they are in order:
///
/// ```compile_fail,E0080
/// # use mainstay_http::{Answer, Change, Changes, Version};
/// # macro_rules! change { ($name:ident, $since:literal, $old:ty => $new:ty) => {
/// #     struct $name;
/// #     impl Change for $name {
/// #         const SINCE: Version = Version::number($since);
/// #         type OldRequest = $old;
/// #         type NewRequest = $new;
/// #         type OldResponse = $old;
/// #         type NewResponse = $new;
/// #         fn lift(_: $old) -> Answer<$new> { Ok(Default::default()) }
/// #         fn lower(_: $new) -> Answer<$old> { Ok(Default::default()) }
/// #     }
/// # } }
/// change!(V3, 3, u8 => u16);
/// change!(V2, 2, u16 => u32);
/// let since = <(V3, V2) as Changes>::since(); // 3 before 2
/// # let _ = since;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no chain of changes",
    label = "not a tuple of changes from the oldest to the newest, each of whose old types are the \
             new types of the one before",
    note = "one change alone is `(V2,)`"
)]
pub trait Changes: Send + Sync + 'static {
    /// The oldest change's version.
    const FIRST: Version;
    /// What the oldest versions send.
    type OldestRequest: DeserializeOwned + Send;
    /// What the handler takes.
    type Request: DeserializeOwned + Send;
    /// What the oldest versions get.
    type OldestResponse: Serialize;
    /// What the handler gives.
    type Response: Serialize;

    /// The versions that the changes came with, in their order.
    fn since() -> Vec<Version>;

    /// The oldest request as the newest.
    fn lift(oldest: Self::OldestRequest) -> Answer<Self::Request>;

    /// The newest response as the oldest.
    fn lower(newest: Self::Response) -> Answer<Self::OldestResponse>;

    /// Reads what `version` sends, by `reader`, and lifts it.
    fn read<R: Reader>(version: Version, reader: R) -> Answer<Self::Request>;

    /// Lowers the newest response to what `version` gets, and writes it by `writer`.
    fn write<W: Writer>(version: Version, newest: Self::Response, writer: W) -> Answer<W::Written>;
}

/// Reads one value of whatever type turns out to be needed.
pub trait Reader {
    /// The value.
    fn read<T: DeserializeOwned>(self) -> Answer<T>;
}

/// Writes one value of whatever type turns out to be needed.
pub trait Writer {
    /// What comes of it.
    type Written;

    /// Writes the value.
    fn write<T: Serialize>(self, value: &T) -> Answer<Self::Written>;
}

/// The newest change: on its far side are the handler's own types.
impl<A: Change + Send + Sync> Changes for (A,) {
    const FIRST: Version = A::SINCE;
    type OldestRequest = A::OldRequest;
    type Request = A::NewRequest;
    type OldestResponse = A::OldResponse;
    type Response = A::NewResponse;

    fn since() -> Vec<Version> {
        vec![A::SINCE]
    }

    fn lift(oldest: A::OldRequest) -> Answer<A::NewRequest> {
        A::lift(oldest)
    }

    fn lower(newest: A::NewResponse) -> Answer<A::OldResponse> {
        A::lower(newest)
    }

    fn read<R: Reader>(version: Version, reader: R) -> Answer<A::NewRequest> {
        if version < A::SINCE { A::lift(reader.read()?) } else { reader.read() }
    }

    fn write<W: Writer>(version: Version, newest: A::NewResponse, writer: W) -> Answer<W::Written> {
        if version < A::SINCE { writer.write(&A::lower(newest)?) } else { writer.write(&newest) }
    }
}

/// A change before others: what it gives, they take.
macro_rules! chain {
    ($first:ident, $($rest:ident),+) => {
        impl<$first, $($rest),+> Changes for ($first, $($rest,)+)
        where
            $first: Change + Send + Sync,
            $($rest: Change + Send + Sync,)+
            ($($rest,)+): Changes<
                OldestRequest = $first::NewRequest,
                OldestResponse = $first::NewResponse,
            >,
        {
            const FIRST: Version = {
                assert!(
                    $first::SINCE.precedes(<($($rest,)+)>::FIRST),
                    "changes are written from the oldest to the newest",
                );
                $first::SINCE
            };
            type OldestRequest = $first::OldRequest;
            type Request = <($($rest,)+) as Changes>::Request;
            type OldestResponse = $first::OldResponse;
            type Response = <($($rest,)+) as Changes>::Response;

            fn since() -> Vec<Version> {
                let mut all = vec![Self::FIRST];
                all.extend(<($($rest,)+)>::since());
                all
            }

            fn lift(oldest: Self::OldestRequest) -> Answer<Self::Request> {
                <($($rest,)+)>::lift($first::lift(oldest)?)
            }

            fn lower(newest: Self::Response) -> Answer<Self::OldestResponse> {
                $first::lower(<($($rest,)+)>::lower(newest)?)
            }

            fn read<RR: Reader>(version: Version, reader: RR) -> Answer<Self::Request> {
                if version < Self::FIRST {
                    Self::lift(reader.read()?)
                } else {
                    <($($rest,)+)>::read(version, reader)
                }
            }

            fn write<WW: Writer>(
                version: Version,
                newest: Self::Response,
                writer: WW,
            ) -> Answer<WW::Written> {
                if version < Self::FIRST {
                    writer.write(&Self::lower(newest)?)
                } else {
                    <($($rest,)+)>::write(version, newest, writer)
                }
            }
        }
        chain!($($rest),+);
    };
    ($last:ident) => {};
}

chain!(A, B, C, D, E, F, G, H, I, J, K, L);
