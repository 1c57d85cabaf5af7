#version 330
// Last pass: pixel u lies on sample 2 u + 1 of a frame of 2 size + 1 samples. Colour is the 3x3 tent about it, in
// linear light; part and depth are that one sample's, so they are never averages.
uniform sampler2D lit;
uniform sampler2D normal_part;
uniform sampler2D depth;
uniform int rate;  // samples per pixel edge: 1 or 2

layout(location = 0) out vec4 rgb_part;
layout(location = 1) out float out_depth;

vec3 at(ivec2 where) {
    vec3 root = texelFetch(lit, where, 0).rgb;
    return root * root;
}

void main() {
    ivec2 centre = ivec2(gl_FragCoord.xy) * rate + (rate - 1);
    ivec2 x = ivec2(rate - 1, 0), y = ivec2(0, rate - 1);
    vec3 colour = 4.0 * at(centre) + 2.0 * (at(centre + x) + at(centre - x) + at(centre + y) + at(centre - y)) +
                  at(centre + x + y) + at(centre - x - y) + at(centre + x - y) + at(centre - x + y);
    colour /= 16.0;
    vec3 srgb = mix(colour * 12.92, 1.055 * pow(colour, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, colour));
    rgb_part = vec4(srgb, texelFetch(normal_part, centre, 0).a);
    float z = texelFetch(depth, centre, 0).r;
    out_depth = z > 0.0 ? z : uintBitsToFloat(0x7f800000u);
}
