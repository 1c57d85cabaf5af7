#version 330
// Last pass: pixel u lies on sample 2 u + 1 of a frame of 2 size + 1 samples. Colour is half that sample's and half the
// four corners', in linear light: across an edge the same weights as the 3x3 tent's. Part and depth are the one
// sample's, so they are never averages. What reaches the surface is known per pixel only and taken from the nearest.
uniform sampler2D ambient_part;
uniform sampler2D sun_bare;
uniform sampler2D reached;
uniform sampler2D depth;
uniform sampler2D photo;
uniform vec3 ambient_white;  // light of a full channel
uniform vec3 sun_white;
uniform vec3 mirror_white;
uniform vec3 floor_ambient;  // shares of the light on a floor under the open sky: add up to 1
uniform vec3 floor_sun;
uniform float exposure;
uniform mat3 ray_from_corner;  // ground-frame ray, 1 m deep, of a point of the frame (-1..1, row 0 at -1)
uniform vec3 horizon;        // radiance of the open sky
uniform vec3 zenith;
uniform float has_photo;
uniform vec2 planes;         // near and far, metres
uniform int rate;            // samples per pixel edge: 1 or 2

in vec2 corner;
layout(location = 0) out vec4 radiance_part;
layout(location = 1) out float out_depth;

vec3 light(ivec2 at, ivec2 pixel, vec3 backdrop) {
    vec4 a = texelFetch(ambient_part, at, 0), s = texelFetch(sun_bare, at, 0);
    vec3 share = texelFetch(reached, pixel, 0).rgb;
    vec3 solid = a.rgb * a.rgb * ambient_white * share.y + s.rgb * s.rgb * sun_white * share.x +
                 share.z * share.z * mirror_white;
    vec3 caught = (floor_ambient * share.y + floor_sun * share.x) * backdrop;
    return mix(solid * exposure, caught, s.a);
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy), centre = pixel * rate + (rate - 1);
    ivec2 x = ivec2(rate - 1, 0), y = ivec2(0, rate - 1), last = textureSize(reached, 0) - 1;
    float rise = normalize(ray_from_corner * vec3(corner, 1.0)).y;
    vec3 backdrop = mix(mix(horizon, zenith, smoothstep(0.0, 0.7, rise)), texelFetch(photo, pixel, 0).rgb, has_photo);

    // A corner lies in the next pixel where it is right or below; what reaches the surface is taken from there.
    vec3 colour = 4.0 * light(centre, pixel, backdrop) + light(centre - x - y, pixel, backdrop) +
                  light(centre + x - y, min(pixel + x, last), backdrop) +
                  light(centre - x + y, min(pixel + y, last), backdrop) +
                  light(centre + x + y, min(pixel + x + y, last), backdrop);
    float d = texelFetch(depth, centre, 0).r;
    float z = planes.x * planes.y / (planes.y - d * (planes.y - planes.x));
    radiance_part = vec4(0.125 * colour, d < 1.0 ? texelFetch(ambient_part, centre, 0).a : 0.0);
    out_depth = d < 1.0 ? z : uintBitsToFloat(0x7f800000u);
}
