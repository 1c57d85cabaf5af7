#version 330
// Third pass: lights every sample. Lambert and a microfacet lobe under one sun, and a two-colour sky. What reaches the
// surface is known per pixel only and taken from the nearest. Linear light; `lit` is stored as its square root.
uniform mat3 ray_from_corner;  // ground-frame ray, 1 m deep, of a point of the frame (-1..1, row 0 at -1)
uniform vec3 to_sun;
uniform vec3 sun;
uniform vec3 sky;
uniform vec3 bounce;
uniform vec3 horizon;
uniform vec3 zenith;
uniform float exposure;
uniform float has_photo;
uniform sampler2D albedo_rough;
uniform sampler2D normal_part;
uniform sampler2D depth;
uniform sampler2D reached;  // per pixel: shares of sun and sky
uniform int rate;
uniform sampler2D photo;

in vec2 corner;
layout(location = 0) out vec4 lit;

vec3 linear(vec3 srgb) { return srgb * (srgb * (srgb * 0.305306 + 0.682171) + 0.012523); }

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
    vec3 v = -normalize(ray);

    vec2 share = texelFetch(reached, min(at / rate, textureSize(reached, 0) - 1), 0).rg;
    float n_sun = max(dot(n, to_sun), 0.0);
    float open = share.y;
    vec3 direct = sun * share.x;
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

    vec3 picture = linear(texelFetch(photo, min(at / rate, textureSize(photo, 0) - 1), 0).rgb);
    vec3 full = sun * n_sun + mix(bounce, sky, 0.5 + 0.5 * n.y);
    colour = material.a > 0.998 ? picture * (direct * n_sun + ambient) / full : colour;
    vec3 behind = mix(mix(horizon, zenith, smoothstep(0.0, 0.7, -v.y)), picture, has_photo);
    lit = vec4(sqrt(z > 0.0 ? colour : behind), 1.0);
}
