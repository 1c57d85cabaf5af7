#version 330
// Second pass, once per pixel: which share of the sun and of the sky reaches the surface at the pixel's centre, and
// how much of them it mirrors towards the camera. Loops with a count of 0 are what llvmpipe can skip; branches are not.
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
uniform vec2 planes;               // near and far, metres
uniform int rate;                  // samples per pixel edge: 1 or 2
uniform vec2 samples;              // size of the frame, samples
uniform sampler2D normal_rough;
uniform sampler2D depth;
uniform sampler2DShadow shadow_map;
uniform sampler2D height_map;

layout(location = 0) out vec3 reached;  // sun, sky, square root of what is mirrored

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
        vec2 away = (SPIRAL[i] + 0.8 * n.xz) * 0.45;
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

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) * rate + (rate - 1);
    float d = texelFetch(depth, at, 0).r;
    float z = planes.x * planes.y / (planes.y - d * (planes.y - planes.x));
    vec4 finish = texelFetch(normal_rough, at, 0);
    vec3 n = normalize(finish.rgb * 2.0 - 1.0);
    vec2 corner = (vec2(at) + 0.5) / samples * 2.0 - 1.0;
    vec3 ray = ray_from_corner * vec3(corner, 1.0);
    vec3 position = eye + ray * z;
    bool solid = d < 1.0;
    float n_sun = max(dot(n, to_sun), 0.0);
    float share = sunlight(position, n, n_sun, solid), open = openness(position, n, solid);

    // A microfacet lobe under the sun, and the smoothed sky at grazing angles.
    vec3 v = -normalize(ray);
    float rough = finish.a, a2 = rough * rough * rough * rough;
    vec3 h = normalize(v + to_sun);
    float n_h = max(dot(n, h), 0.0), v_h = max(dot(v, h), 0.0), n_v = max(dot(n, v), 0.0);
    float q = n_h * n_h * (a2 - 1.0) + 1.0;
    float lobe = 0.04 * a2 / (12.566 * q * q) * n_sun / max(v_h * v_h * (rough + 0.5), 0.1);
    float grazing = (1.0 - n_v) * (1.0 - n_v);
    float gloss = (0.04 + grazing * grazing * (1.0 - rough)) * (1.0 - rough);
    float mirrored = lobe * share * sun_level + gloss * brightness(reflect(-v, n)) * open;
    reached = vec3(share, open, sqrt(min(solid ? mirrored : 0.0, 1.0)));
}
