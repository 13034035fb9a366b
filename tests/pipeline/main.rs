//! Real models, from their source files to what the runtime computes, through
//! the public interfaces only.

#[cfg(test)]
mod accuracy;
#[cfg(test)]
mod arena;
#[cfg(test)]
mod check;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod predict;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod structured;
#[cfg(test)]
mod support;
