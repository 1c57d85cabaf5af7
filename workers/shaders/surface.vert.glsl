#version 330
// First pass: what lies at every sample. One draw call for everything, so finish and texture come per vertex.
uniform mat4 clip_from_ground;

in vec3 in_position;  // ground frame, metres
in vec3 in_normal;
in vec2 in_uv;
in vec3 in_colour;  // sRGB, 0..1
in uint in_part;
in uvec2 in_finish;  // texture layer, roughness 0..254 (255: shadow catcher)

out vec3 normal;
out vec3 uv_layer;
out vec3 root_albedo;
flat out vec2 rough_part;

void main() {
    normal = in_normal;
    uv_layer = vec3(in_uv, float(in_finish.x));
    root_albedo = sqrt(mix(in_colour / 12.92, pow((in_colour + 0.055) / 1.055, vec3(2.4)),
                           step(0.04045, in_colour)));
    rough_part = vec2(float(in_finish.y), float(in_part)) / 255.0;
    gl_Position = clip_from_ground * vec4(in_position, 1.0);
}
