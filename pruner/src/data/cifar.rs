//! The binary version of CIFAR-10: a label byte and 3072 pixel bytes per record.

use super::error::Defect;
use super::tensor::RawTensor;
use safetensors::Dtype;

const SAMPLE_SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;
const CLASSES: u8 = 10;

/// Parses a file of records into inputs `[N, 3, 32, 32]` and labels `[N]`.
pub(super) fn parse(bytes: &[u8]) -> Result<(RawTensor, RawTensor), Defect> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if records.is_empty() || !rest.is_empty() {
        return Err(Defect::new(
            format!(
                "{} bytes do not make whole CIFAR-10 records of {RECORD} bytes",
                bytes.len()
            ),
            "fetch the file again, or name its `format` in a data.toml",
        ));
    }
    let mut pixels = Vec::with_capacity(records.len() * PIXELS);
    let mut labels = Vec::with_capacity(records.len());
    for (i, [label, image @ ..]) in records.iter().enumerate() {
        if *label >= CLASSES {
            return Err(Defect::new(
                format!("record {i} has label {label}, and CIFAR-10 ends at 9"),
                "give the binary version of CIFAR-10, not CIFAR-100 or another format",
            ));
        }
        labels.push(*label);
        pixels.extend_from_slice(image);
    }
    let count = records.len();
    let [channels, height, width] = SAMPLE_SHAPE;
    Ok((
        RawTensor::new(Dtype::U8, vec![count, channels, height, width], pixels)?,
        RawTensor::new(Dtype::U8, vec![count], labels)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_records() -> Vec<u8> {
        let mut bytes = vec![9];
        bytes.extend((0..PIXELS).map(|i| (i % 256) as u8));
        bytes.push(0);
        bytes.resize(2 * RECORD, 200);
        bytes
    }

    #[test]
    fn records_are_split_into_inputs_and_labels() {
        let (inputs, labels) = parse(&two_records()).unwrap();
        assert_eq!(inputs.shape, [2, 3, 32, 32]);
        let values = inputs.to_f32().unwrap();
        assert_eq!((values[0], values[255], values[PIXELS]), (0.0, 255.0, 200.0));
        assert_eq!(labels.to_labels().unwrap(), [9, 0]);
    }

    #[test]
    fn partial_records_are_refused() {
        let bytes = two_records();
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]).is_ok(), length == RECORD);
        }
    }

    #[test]
    fn a_label_above_nine_is_refused() {
        let mut bytes = two_records();
        bytes[RECORD] = 10;
        let error = parse(&bytes).unwrap_err();
        assert!(error.problem.contains("record 1 has label 10"), "{error}");
    }
}
