//! The real command: results, exit codes, and what it leaves behind.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod rewriting;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod support;
#[cfg(test)]
mod texts;
