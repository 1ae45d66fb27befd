//! Methods of a trait that are those of a field.

/// Hands these methods on to the field of this name: `delegate! { to inner: name() -> &str; }`.
macro_rules! delegate {
    (to $field:tt: $($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $arg: $type)*) -> $result { self.$field.$name($($arg),*) })*
    };
}

pub(super) use delegate;
