#version 330
// Second pass, once per pixel: which share of the sun and of the sky reaches the surface at the pixel's centre.
uniform vec3 eye;
uniform mat3 ray_from_corner;  // ground-frame ray, 1 m deep, of a point of the frame (-1..1, row 0 at -1)
uniform vec3 to_sun;
uniform vec2 penumbra;             // radii of the shadow filter, shadow map uv
uniform float texel_m;             // edge of a shadow map texel, metres
uniform mat4 shadow_from_ground;
uniform vec4 heights_from_ground;  // height map uv = xz * .x + .yz
uniform vec2 height_range;         // metres at depth 0 and 1 of the height map
uniform int rate;                  // samples per pixel edge: 1 or 2
uniform vec2 samples;              // size of the frame, samples
uniform sampler2D normal_part;
uniform sampler2D depth;
uniform sampler2DShadow shadow_map;
uniform sampler2D height_map;

layout(location = 0) out vec2 reached;  // sun, sky

const int TAPS = 8;
const vec2 SPIRAL[TAPS] = vec2[TAPS](vec2(0.25, 0.0), vec2(-0.319, 0.292), vec2(0.049, -0.557),
                                     vec2(0.402, 0.524), vec2(-0.739, -0.131), vec2(0.7, -0.445),
                                     vec2(-0.234, 0.87), vec2(-0.446, -0.859));

float sunlight(vec3 position, vec3 n, float n_sun) {
    // Moving the receiver along its normal by about a texel hides the map's own staircase.
    vec3 p = position + n * texel_m * (2.5 - n_sun);
    vec3 at = (shadow_from_ground * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    float seen = 0.0;
    for (int i = 0; i < TAPS; i++)
        seen += texture(shadow_map, vec3(at.xy + SPIRAL[i] * penumbra, at.z));
    return seen / float(TAPS);
}

float openness(vec3 position, vec3 n) {
    // Share of the sky not hidden by what stands higher nearby: a horizon of angle e hides sin^2(e) of it.
    float hidden = 0.0;
    vec3 p = position + n * 0.02;
    for (int i = 0; i < TAPS; i++) {
        vec2 away = (SPIRAL[i] + 0.8 * n.xz) * 0.45;
        float under = texture(height_map, (p.xz + away) * heights_from_ground.x + heights_from_ground.yz).r;
        float h = max(mix(height_range.x, height_range.y, under) - p.y - 0.01, 0.0);
        hidden += h * h / (h * h + dot(away, away) + 1e-4);
    }
    return 1.0 - 0.85 * hidden / float(TAPS);
}

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) * rate + (rate - 1);
    float z = texelFetch(depth, at, 0).r;
    vec3 n = normalize(texelFetch(normal_part, at, 0).rgb * 2.0 - 1.0);
    vec2 corner = (vec2(at) + 0.5) / samples * 2.0 - 1.0;
    vec3 position = eye + ray_from_corner * vec3(corner, 1.0) * z;
    reached = vec2(sunlight(position, n, max(dot(n, to_sun), 0.0)), openness(position, n));
}
