//! The schemas of a chain of changes: what a version sends and gets, chosen as it is at run time.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::ToSchema;

use crate::version::{Change, Changes, Version};

/// What a version sends and gets on a route. Made by [`Described::exchange`].
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `None` for `()`.
    pub(super) request: Option<Typed>,
    pub(super) response: Typed,
}

/// A type's schema, with those it refers to.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    /// A reference, if the type is one of those that are known by name.
    pub(super) schema: Value,
    pub(super) components: Vec<(String, Value)>,
    pub(super) name: Option<String>,
    /// Whether there need be no body.
    pub(super) optional: bool,
}

/// [`Changes`] whose types have schemas: each of them implements utoipa's `ToSchema`. It is implemented
/// for every such chain.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no chain of changes whose types have schemas",
    note = "each of its types needs `#[derive(utoipa::ToSchema)]`, and one change alone is `(V2,)`"
)]
pub trait Described: Changes {
    /// What `version` sends and gets: the types of the nearest older change, as for a request.
    fn exchange(version: Version) -> Exchange;
}

impl<A> Described for (A,)
where
    A: Change + Send + Sync,
    A::OldRequest: ToSchema,
    A::OldResponse: ToSchema,
    A::NewRequest: ToSchema,
    A::NewResponse: ToSchema,
{
    fn exchange(version: Version) -> Exchange {
        if version < A::SINCE {
            Exchange::of::<A::OldRequest, A::OldResponse>()
        } else {
            Exchange::of::<A::NewRequest, A::NewResponse>()
        }
    }
}

macro_rules! described {
    ($first:ident, $($rest:ident),+) => {
        impl<$first, $($rest),+> Described for ($first, $($rest,)+)
        where
            $first: Change + Send + Sync,
            $first::OldRequest: ToSchema,
            $first::OldResponse: ToSchema,
            $($rest: Change + Send + Sync,)+
            ($first, $($rest,)+): Changes,
            ($($rest,)+): Described,
        {
            fn exchange(version: Version) -> Exchange {
                if version < $first::SINCE {
                    Exchange::of::<$first::OldRequest, $first::OldResponse>()
                } else {
                    <($($rest,)+) as Described>::exchange(version)
                }
            }
        }
        described!($($rest),+);
    };
    ($last:ident) => {};
}

described!(A, B, C, D, E, F, G, H, I, J, K, L);

impl Exchange {
    fn of<Q: ToSchema, S: ToSchema>() -> Self {
        let request = (std::any::type_name::<Q>() != "()").then(Typed::of::<Q>);
        Self { request, response: Typed::of::<S>() }
    }
}

impl Typed {
    fn of<T: ToSchema>() -> Self {
        let mut components = Vec::new();
        T::schemas(&mut components);
        let json = |schema: &_| serde_json::to_value(schema).unwrap_or(Value::Bool(true));
        let mut components: Vec<(String, Value)> =
            components.iter().map(|(name, schema)| (name.clone(), json(schema))).collect();
        let type_name = std::any::type_name::<T>();
        let optional = type_name.starts_with("core::option::Option<");
        let whole = json(&T::schema());
        let Some(name) = component(type_name, T::name()) else {
            return Self { schema: whole, components, name: None, optional };
        };
        let schema = super::components::reference(&name);
        // A type that holds itself is among them already.
        components.retain(|(known, _)| *known != name);
        components.push((name.clone(), whole));
        Self { schema, components, name: Some(name), optional }
    }
}

/// What a type is called among the components, with its parameters as utoipa writes them:
/// `Page_Order`. The standard library's types have no name of their own.
fn component(type_name: &str, name: Cow<'static, str>) -> Option<String> {
    let (path, arguments) = type_name.split_once('<').unwrap_or((type_name, ""));
    let (first, _) = path.split_once("::")?;
    let foreign = ["alloc", "core", "std"].contains(&first) || first.starts_with(['&', '(', '[']);
    if foreign {
        return None;
    }
    let mut name = name.into_owned();
    let separators = |c: char| "<>,& ()[];".contains(c);
    for argument in arguments.split(separators).filter(|argument| !argument.is_empty()) {
        name.push('_');
        name.push_str(argument.rsplit("::").next().unwrap_or(argument));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_as_utoipa_names_it() {
        let named = |type_name, name| component(type_name, Cow::Borrowed(name));
        assert_eq!(named("shop::v1::Order", "Order").as_deref(), Some("Order"));
        assert_eq!(named("shop::Page<shop::Order>", "Page").as_deref(), Some("Page_Order"));
        let nested = named("shop::Page<alloc::vec::Vec<shop::Order>>", "Page");
        assert_eq!(nested.as_deref(), Some("Page_Vec_Order"));
        for type_name in ["u32", "alloc::vec::Vec<shop::Order>", "(shop::A, shop::B)", "()"] {
            assert_eq!(named(type_name, "X"), None, "{type_name}");
        }
    }
}
