mod budget;
mod choice;
mod groups;
mod net;
mod oracle;
mod permutation;
mod readers;
