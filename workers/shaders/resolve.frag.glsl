#version 330
// Last pass, once per pixel: which share of the sun and of the sky reaches the surface at the pixel's centre, how much
// of them it mirrors towards the camera, and the picture. Loops with a count of 0 are what llvmpipe can skip; branches
// are not.
// Samples lie at the pixels' centres and corners, on a lattice turned by 45 degrees (`workers.render`). Colour is half
// the centre's and half the four corners', in linear light: across an edge the same weights as the 3x3 tent's. Part and
// depth are the one sample's, so they are never averages. What reaches the surface is known at the centre only and
// taken for the corners too.
uniform vec3 eye;
uniform mat3 ray_from_corner;  // ground-frame ray, 1 m deep, of a point of the frame (-1..1, row 0 at -1)
uniform vec3 to_sun;
uniform float sun_level;           // luminance of `sun` and of the irradiance polynomial, over `mirror_white`
uniform float level[9];
uniform vec2 penumbra;             // radii of the shadow filter, shadow map uv
uniform float texel_m;             // edge of a shadow map texel, metres
uniform mat4 shadow_from_ground;
uniform vec4 heights_from_ground;  // height map uv = xz * .x + .yz
uniform vec2 height_range;         // metres at depth 0 and 1 of the height map
uniform vec3 ambient_white;        // light of a full channel
uniform vec3 sun_white;
uniform vec3 mirror_white;
uniform vec3 floor_ambient;        // shares of the light on a floor under the open sky: add up to 1
uniform vec3 floor_sun;
uniform float exposure;
uniform vec3 horizon;              // radiance of the open sky
uniform vec3 zenith;
uniform float has_photo;
uniform vec2 planes;               // near and far, metres
uniform int rate;                  // samples per pixel edge: 1 or 2
uniform float samples;             // edge of the frame, samples
uniform sampler2D ambient_part;
uniform sampler2D sun_bare;
uniform sampler2D normal_rough;
uniform sampler2D depth;
uniform sampler2D photo;
uniform sampler2DShadow shadow_map;
uniform sampler2D height_map;

layout(location = 0) out vec4 radiance_part;
layout(location = 1) out float out_depth;

const int TAPS = 6;
const vec2 SPIRAL[TAPS] = vec2[TAPS](vec2(0.276, 0.085), vec2(-0.452, 0.214), vec2(0.244, -0.598), vec2(0.265, 0.716), vec2(-0.770, -0.396), vec2(0.924, -0.252));

float sunlight(vec3 position, vec3 n, float n_sun, bool solid) {
    // Moving the receiver along its normal by about a texel hides the map's own staircase.
    vec3 p = position + n * texel_m * (2.5 - n_sun);
    vec3 at = (shadow_from_ground * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    bool inside = all(greaterThan(at.xy, -penumbra)) && all(lessThan(at.xy, 1.0 + penumbra));
    int taps = solid && inside && n_sun > 0.0 ? TAPS : 0;
    float seen = 0.0;
    for (int i = 0; i < taps; i++)
        seen += texture(shadow_map, vec3(at.xy + SPIRAL[i] * penumbra, at.z));
    return taps > 0 ? seen / float(TAPS) : 1.0;
}

float openness(vec3 position, vec3 n, bool solid) {
    // Share of the sky not hidden by what stands higher nearby: a horizon of angle e hides sin^2(e) of it.
    float hidden = 0.0;
    vec3 p = position + n * 0.02;
    vec2 middle = p.xz * heights_from_ground.x + heights_from_ground.yz;
    float margin = 0.7 * heights_from_ground.x;
    bool inside = all(greaterThan(middle, vec2(-margin))) && all(lessThan(middle, vec2(1.0 + margin)));
    int taps = solid && inside && p.y < height_range.x ? TAPS : 0;
    for (int i = 0; i < taps; i++) {
        // Squared radii: the nearest taps lie within 4 and 11 cm, where feet meet the floor.
        vec2 away = (SPIRAL[i] * length(SPIRAL[i]) + 0.8 * n.xz) * 0.45;
        float under = texture(height_map, middle + away * heights_from_ground.x).r;
        float h = max(mix(height_range.x, height_range.y, under) - p.y - 0.01, 0.0);
        hidden += h * h / (h * h + dot(away, away) + 1e-4);
    }
    return 1.0 - 0.85 * hidden / float(TAPS);
}

float brightness(vec3 n) {
    return max(level[0] + level[1] * n.x + level[2] * n.y + level[3] * n.z + level[4] * (n.x * n.y) +
               level[5] * (n.y * n.z) + level[6] * (3.0 * n.z * n.z - 1.0) + level[7] * (n.x * n.z) +
               level[8] * (n.x * n.x - n.y * n.y), 0.0);
}

float mirrored(vec3 n, vec3 v, float rough, float n_sun, float share, float open) {
    // A microfacet lobe under the sun, and the smoothed sky at grazing angles.
    float a2 = rough * rough * rough * rough;
    vec3 h = normalize(v + to_sun);
    float n_h = max(dot(n, h), 0.0), v_h = max(dot(v, h), 0.0), n_v = max(dot(n, v), 0.0);
    float q = n_h * n_h * (a2 - 1.0) + 1.0;
    float lobe = 0.04 * a2 / (12.566 * q * q) * n_sun / max(v_h * v_h * (rough + 0.5), 0.1);
    float grazing = (1.0 - n_v) * (1.0 - n_v);
    float gloss = (0.04 + grazing * grazing * (1.0 - rough)) * (1.0 - rough);
    return min(lobe * share * sun_level + gloss * brightness(reflect(-v, n)) * open, 1.0);
}

// What the samples of a pixel add up to: light by its source, and how much of the pixel shows the backdrop.
vec3 ambient = vec3(0.0), sun = vec3(0.0);
float solid_share = 0.0, catching = 0.0, nothing = 0.0;

float add(ivec2 at, float weight) {
    vec4 a = texelFetch(ambient_part, at, 0), s = texelFetch(sun_bare, at, 0);
    float bare = weight * s.a, solid = weight - bare, empty = bare * step(0.999, a.a);
    ambient += solid * a.rgb * a.rgb;
    sun += solid * s.rgb * s.rgb;
    solid_share += solid;
    nothing += empty;
    catching += bare - empty;
    return a.a;
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy), square = pixel * rate + (rate - 1), at = square;
    if (rate == 2) at = ivec2(square.x + square.y, square.y - square.x + int(samples) - 1) / 2;
    float d = texelFetch(depth, at, 0).r;
    float z = planes.x * planes.y / (planes.y - d * (planes.y - planes.x));
    vec4 finish = texelFetch(normal_rough, at, 0);
    vec3 n = normalize(finish.rgb * 2.0 - 1.0);
    vec3 ray = ray_from_corner * vec3((vec2(square) + 0.5) / samples * 2.0 - 1.0, 1.0), away = normalize(ray);
    vec3 position = eye + ray * z;
    bool solid = d < 1.0;
    float n_sun = max(dot(n, to_sun), 0.0);
    float share = sunlight(position, n, n_sun, solid), open = openness(position, n, solid);
    float shine = mirrored(n, -away, finish.a, n_sun, share, open);

    ivec2 x = ivec2(rate - 1, 0), y = ivec2(0, rate - 1);
    float part = add(at, 0.5);
    add(at - x, 0.125);
    add(at + x, 0.125);
    add(at - y, 0.125);
    add(at + y, 0.125);
    vec3 backdrop = mix(mix(horizon, zenith, smoothstep(0.0, 0.7, away.y)), texelFetch(photo, pixel, 0).rgb, has_photo);
    vec3 lit = ambient * ambient_white * open + sun * sun_white * share +
               (solid ? shine * solid_share : 0.0) * mirror_white;
    vec3 shown = nothing + catching * (floor_ambient * open + floor_sun * share);
    radiance_part = vec4(lit * exposure + shown * backdrop, solid ? part : 0.0);
    out_depth = solid ? z : uintBitsToFloat(0x7f800000u);
}
