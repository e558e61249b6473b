//! Connected components of a label volume.

/// Keeps, of each class, only the largest connected component (6 neighbours; of equal ones the first): the rest
/// becomes 0. An organ is one piece; what lies apart from it is most often a false alarm.
pub(crate) fn keep_largest_components(labels: &mut [u8], [nx, ny, nz]: [usize; 3]) {
    let mut seen = vec![false; labels.len()];
    let mut largest: [Vec<usize>; 256] = std::array::from_fn(|_| Vec::new());
    for start in 0..labels.len() {
        let class = labels[start];
        if class == 0 || seen[start] {
            continue;
        }
        seen[start] = true;
        let mut component = vec![start];
        let mut next = 0;
        while let Some(&voxel) = component.get(next) {
            next += 1;
            let (i, j, k) = (voxel % nx, voxel / nx % ny, voxel / (nx * ny));
            let neighbours = [
                (i > 0, voxel.wrapping_sub(1)),
                (i + 1 < nx, voxel + 1),
                (j > 0, voxel.wrapping_sub(nx)),
                (j + 1 < ny, voxel + nx),
                (k > 0, voxel.wrapping_sub(nx * ny)),
                (k + 1 < nz, voxel + nx * ny),
            ];
            for (inside, neighbour) in neighbours {
                if inside && labels[neighbour] == class && !seen[neighbour] {
                    seen[neighbour] = true;
                    component.push(neighbour);
                }
            }
        }
        let best = &mut largest[usize::from(class)];
        if component.len() > best.len() {
            *best = component;
        }
    }
    labels.fill(0);
    for (class, component) in (0..=u8::MAX).zip(&largest) {
        component.iter().for_each(|&voxel| labels[voxel] = class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_class_one_piece_stays() {
        // two slices of 4 x 2: class 1 in pieces of 3 (through the slices) and 1, class 2 in pieces of 1 and 2
        let mut labels = [1, 0, 0, 1, 0, 2, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2];
        keep_largest_components(&mut labels, [4, 2, 2]);
        assert_eq!(labels, [1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2]);
    }

    /// Rows do not join across the edge of the volume, nor do diagonal neighbours.
    #[test]
    fn edges_and_diagonals_do_not_connect() {
        let mut labels = [0, 1, 1, 0, 0, 0, 0, 1, 1];
        keep_largest_components(&mut labels, [3, 3, 1]);
        assert_eq!(labels, [0, 1, 1, 0, 0, 0, 0, 0, 0]);
    }
}
