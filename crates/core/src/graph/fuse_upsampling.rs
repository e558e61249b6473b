//! The pass that makes upsampling a part of the convolution behind it.

use super::{Graph, Op};

/// Convolutions 3x3 of an upsampled map become one operation with the upsampling: executors can then convolve at low
/// resolution, as upsampling acts on each channel alone. Nodes keep their numbers; nothing reads the upsampling any more.
pub fn fuse_upsampling(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        let [input] = graph.nodes[i].inputs[..] else { continue };
        let Op::Upsample(scale) = graph[input].op else { continue };
        let source = graph[input].inputs.clone();
        let node = &mut graph.nodes[i];
        if let Op::Conv(conv) = &mut node.op
            && (conv.kernel, conv.stride, conv.upsample, conv.bias) == (3, 1, 1, true)
        {
            conv.upsample = scale;
            node.inputs = source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;

    #[test]
    fn only_convolutions_that_can_be_fused_are() {
        let mut graph = Graph::default();
        let x = graph.input("x", 2, 4);
        let up = graph.upsample("up", x, 4);
        let fused = graph.conv("fused", up, Conv::new(2, 3, 3).batch_norm("bn").relu());
        let strided = graph.conv("strided", up, Conv::new(2, 3, 3).stride(2));
        let pooled = graph.max_pool("pool", up, 2);
        fuse_upsampling(&mut graph);
        assert_eq!((graph[fused].inputs[0], graph[strided].inputs[0]), (x, up));
        assert!(matches!(&graph[fused].op, Op::Conv(conv) if conv.upsample == 4));
        assert_eq!(graph[fused].reduction, 1);
        assert_eq!(graph[pooled].inputs, [up]);
        assert!(!graph.needed(&[fused])[up.index()]);
    }
}
