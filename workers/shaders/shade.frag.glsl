#version 330
// Second pass: lights every sample once. Lambert and a microfacet lobe under one sun with a filtered shadow map, and
// a two-colour sky dimmed by a height-field ambient occlusion. Linear light; `lit` is stored as its square root.
uniform vec3 eye;
uniform mat3 ray_from_corner;  // ground-frame ray, 1 m deep, of a point of the frame (-1..1, row 0 at -1)
uniform vec3 to_sun;
uniform vec3 sun;
uniform vec3 sky;
uniform vec3 bounce;
uniform vec3 horizon;
uniform vec3 zenith;
uniform float exposure;
uniform float has_photo;
uniform vec2 penumbra;             // radii of the shadow filter, shadow map uv
uniform float texel_m;             // edge of a shadow map texel, metres
uniform mat4 shadow_from_ground;
uniform vec4 heights_from_ground;  // height map uv = xz * .x + .yz
uniform vec2 height_range;         // metres at depth 0 and 1 of the height map
uniform sampler2D albedo_rough;
uniform sampler2D normal_part;
uniform sampler2D depth;
uniform sampler2DShadow shadow_map;
uniform sampler2D height_map;
uniform sampler2D photo;

in vec2 corner;
layout(location = 0) out vec4 lit;

// Four taps per sample; the four samples of a 2x2 cell turn them differently, and the resolve averages all sixteen.
const vec2 SPIRAL[4] = vec2[4](vec2(0.3, 0.0), vec2(-0.406, 0.372), vec2(0.065, -0.747), vec2(0.575, 0.75));

mat2 turned() {
    vec2 cell = floor(mod(gl_FragCoord.xy, 2.0));
    float k = cell.x + 2.0 * cell.y;
    float angle = k * 0.6;
    return mat2(cos(angle), sin(angle), -sin(angle), cos(angle)) * (1.06 - 0.14 * k);
}

vec3 linear(vec3 srgb) { return srgb * (srgb * (srgb * 0.305306 + 0.682171) + 0.012523); }

float sunlight(vec3 position, vec3 n, float n_sun, mat2 turn) {
    // Moving the receiver along its normal by about a texel hides the map's own staircase.
    vec3 p = position + n * texel_m * (2.5 - n_sun);
    vec3 at = (shadow_from_ground * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    float seen = 0.0;
    for (int i = 0; i < 4; i++)
        seen += texture(shadow_map, vec3(at.xy + turn * SPIRAL[i] * penumbra, at.z));
    return seen / 4.0;
}

float openness(vec3 position, vec3 n, mat2 turn) {
    // Share of the sky not hidden by what stands higher nearby: a horizon of angle e hides sin^2(e) of it.
    float hidden = 0.0;
    vec3 p = position + n * 0.02;
    for (int i = 0; i < 4; i++) {
        vec2 away = (turn * SPIRAL[i] + 0.8 * n.xz) * 0.45;
        float under = texture(height_map, (p.xz + away) * heights_from_ground.x + heights_from_ground.yz).r;
        float h = max(mix(height_range.x, height_range.y, under) - p.y - 0.01, 0.0);
        hidden += h * h / (h * h + dot(away, away) + 1e-4);
    }
    return 1.0 - 0.85 * hidden / 4.0;
}

vec3 film(vec3 x) {  // Reinhard's curve with white at 2.2: keeps darks as they are, rolls highlights off
    x *= 1.25;
    return clamp(x * (1.0 + x / 4.84) / (1.0 + x), 0.0, 1.0);
}

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    float z = texelFetch(depth, at, 0).r;
    vec4 material = texelFetch(albedo_rough, at, 0);
    vec3 n = normalize(texelFetch(normal_part, at, 0).rgb * 2.0 - 1.0);
    vec3 ray = ray_from_corner * vec3(corner, 1.0);
    vec3 position = eye + ray * z;
    vec3 v = -normalize(ray);

    mat2 turn = turned();
    float n_sun = max(dot(n, to_sun), 0.0);
    float open = openness(position, n, turn);
    vec3 direct = sun * sunlight(position, n, n_sun, turn);
    vec3 ambient = mix(bounce, sky, 0.5 + 0.5 * n.y) * open;

    vec3 base = material.rgb * material.rgb;
    float rough = material.a;
    float a2 = rough * rough * rough * rough;
    vec3 h = normalize(v + to_sun);
    float n_h = max(dot(n, h), 0.0), v_h = max(dot(v, h), 0.0), n_v = max(dot(n, v), 0.0);
    float d = n_h * n_h * (a2 - 1.0) + 1.0;
    float lobe = 0.04 * a2 / (12.566 * d * d) * n_sun / max(v_h * v_h * (rough + 0.5), 0.1);
    float grazing = (1.0 - n_v) * (1.0 - n_v);
    float gloss = (0.04 + grazing * grazing * (1.0 - rough)) * (1.0 - rough);
    vec3 mirrored = mix(bounce, sky, smoothstep(-0.2, 0.6, reflect(-v, n).y)) * open;
    vec3 colour = film((base * (direct * n_sun + ambient) + lobe * direct + gloss * mirrored) * exposure);

    vec3 picture = linear(texture(photo, corner * 0.5 + 0.5).rgb);
    vec3 full = sun * n_sun + mix(bounce, sky, 0.5 + 0.5 * n.y);
    colour = material.a > 0.998 ? picture * (direct * n_sun + ambient) / full : colour;
    vec3 behind = mix(mix(horizon, zenith, smoothstep(0.0, 0.7, -v.y)), picture, has_photo);
    lit = vec4(sqrt(z > 0.0 ? colour : behind), 1.0);
}
