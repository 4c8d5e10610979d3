//! Whole machines, as trees of files, and the sidecars that are made of them.

mod garbage;
mod machine;
mod tasks;
mod tree;
