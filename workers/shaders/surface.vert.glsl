#version 330
// First pass: what lies at every sample and the light it would get if nothing stood in between. One draw call for
// everything, so finish and texture come per vertex; so does the light, which costs llvmpipe far less than per sample.
uniform mat4 clip_from_ground;
uniform vec3 to_sun;
uniform vec3 sun;         // of a white surface that faces it, over the largest that `sun_root` holds
uniform vec3 ambient[9];  // irradiance polynomial of the normal, over the largest that `ambient_root` holds
uniform int turned;       // 1 where the frame holds the picture as a diamond
uniform float side;       // 1 draws the outside of what is seen, -1 its inside

in vec3 in_position;  // ground frame, metres
in vec3 in_normal;
in vec3 in_root;  // square root of the colour's linear light, 0..1
in uint in_part;
in uvec2 in_finish;  // texture layer, roughness 0..254 (255: shadow catcher)

#ifndef PLAIN
in vec2 in_uv;
out vec3 uv_layer;
#endif
out vec3 normal;
out vec3 ambient_root;
out vec3 sun_root;
flat out vec3 part_bare_rough;

vec3 irradiance(vec3 n) {
    return max(ambient[0] + ambient[1] * n.x + ambient[2] * n.y + ambient[3] * n.z + ambient[4] * (n.x * n.y) +
               ambient[5] * (n.y * n.z) + ambient[6] * (3.0 * n.z * n.z - 1.0) + ambient[7] * (n.x * n.z) +
               ambient[8] * (n.x * n.x - n.y * n.y), 0.0);
}

void main() {
    bool catcher = in_finish.y == 255u;
    normal = in_normal * side;
#ifndef PLAIN
    uv_layer = vec3(in_uv, float(in_finish.x));
#endif
    ambient_root = catcher ? vec3(1.0) : in_root * sqrt(irradiance(normal));
    sun_root = catcher ? vec3(1.0) : in_root * sqrt(sun * max(dot(normal, to_sun), 0.0));
    part_bare_rough = vec3(float(in_part) / 255.0, catcher ? 1.0 : 0.0, float(in_finish.y) / 255.0);
    gl_Position = clip_from_ground * vec4(in_position, 1.0);
    // What lies beyond the picture's edges, the diamond's, is clipped: the frame about it is twice as large.
    vec2 at = gl_Position.xy;
    if (turned == 1) at = vec2(at.x - at.y, at.x + at.y);
    gl_ClipDistance[0] = gl_Position.w - at.x;
    gl_ClipDistance[1] = gl_Position.w + at.x;
    gl_ClipDistance[2] = gl_Position.w - at.y;
    gl_ClipDistance[3] = gl_Position.w + at.y;
}
