"""The nouns: engine-free values that every other room speaks.

Units: metres, radians, seconds, pixels. Degrees exist only in `.mot` files and in what people read.
Frames: `ground` is OpenSim's (X forward, Y up, Z right); `cam` is OpenCV's (x right, y down, z forward);
`T_dst_from_src` takes column vectors of `src` to `dst`. The centre of the top-left pixel is (0, 0).
Dims in docstrings: n samples, c coordinates, b bodies, j joints, m markers, k keypoints.
"""
