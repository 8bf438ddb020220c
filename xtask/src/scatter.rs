//! A map of points.

/// Pixels a side of the map in a file.
pub const SIDE: usize = 128;
/// Of the map in the terminal, where a character is two pixels high.
const TEXT_SIDE: usize = 60;
/// Half the side of what is shown: points of data lie within [-1, 1].
const REACH: f32 = 1.1;

/// `side` x `side` grey values, white where a point is: its first value goes
/// right and its second up. Points are the bits of their values.
#[must_use]
pub fn map(points: &[&[u32]], side: usize) -> Vec<u8> {
    let mut grey = vec![0; side * side];
    let place = |value: f32| -> Option<usize> {
        let at = (value / REACH + 1.0) / 2.0 * side as f32;
        (at >= 0.0 && at < side as f32).then_some(at as usize)
    };
    for point in points {
        let value = |index: usize| point.get(index).map_or(0.0, |&bits| f32::from_bits(bits));
        if let (Some(column), Some(row)) = (place(value(0)), place(-value(1))) {
            grey[row * side + column] = 255;
        }
    }
    grey
}

/// The map for the terminal.
#[must_use]
pub fn text(points: &[&[u32]]) -> String {
    let grey = map(points, TEXT_SIDE);
    let mut text = String::new();
    for rows in grey.chunks(2 * TEXT_SIDE) {
        let (upper, lower) = rows.split_at(TEXT_SIDE);
        let line: String = upper
            .iter()
            .zip(lower)
            .map(|(&upper, &lower)| match (upper > 0, lower > 0) {
                (false, false) => ' ',
                (true, false) => '▀',
                (false, true) => '▄',
                (true, true) => '█',
            })
            .collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_right_and_up() {
        let bits = |x: f32, y: f32| [x.to_bits(), y.to_bits()];
        let points = [bits(1.0, 1.0), bits(-1.0, 0.0), bits(9.0, f32::NAN)];
        let points: Vec<&[u32]> = points.iter().map(|p| &p[..]).collect();
        let grey = map(&points, 11);
        let lit: Vec<usize> = (0..grey.len()).filter(|&i| grey[i] > 0).collect();
        assert_eq!(lit, [10, 5 * 11]);
        let text = text(&points);
        assert_eq!(text.lines().count(), TEXT_SIDE / 2);
        assert_eq!(text.chars().filter(|c| "▀▄█".contains(*c)).count(), 2);
    }
}
