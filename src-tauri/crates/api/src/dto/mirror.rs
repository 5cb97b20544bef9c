//! The macro behind the enums of the wire.

/// Defines an enum of the wire that mirrors one of the domain's, variant by variant. A variant
/// that is added there and not here fails to compile.
macro_rules! mirrored {
    ($(#[$meta:meta])* $name:ident mirrors $source:path { $($variant:ident = $wire:tt),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize,
            utoipa::ToSchema,
        )]
        pub enum $name {
            $(#[serde(rename = $wire)] $variant,)+
        }

        impl From<$source> for $name {
            fn from(value: $source) -> Self {
                type Source = $source;
                match value {
                    $(Source::$variant => Self::$variant,)+
                }
            }
        }

        impl From<$name> for $source {
            fn from(value: $name) -> Self {
                type Source = $source;
                match value {
                    $($name::$variant => Source::$variant,)+
                }
            }
        }
    };
}
