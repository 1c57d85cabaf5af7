#version 330
// Kept short: llvmpipe shades whole 4x4 blocks, of which a small triangle of a body uses a few samples.
// 8 bits hold k / 255 exactly, so a part number passes through an ordinary colour channel unharmed.
uniform sampler2DArray textures;

in vec3 normal;
in vec3 uv_layer;
in vec3 root_albedo;
flat in vec2 rough_part;

layout(location = 0) out vec4 albedo_rough;  // square root of linear albedo
layout(location = 1) out vec4 normal_part;
layout(location = 2) out float depth;        // along the camera's axis, metres

void main() {
    vec4 tile = texture(textures, uv_layer);
#ifdef HOLES
    if (tile.a < 0.4) discard;  // below one half, as the smaller mipmaps of thin strands fade
#endif
    // sRGB's curve lies close to a square, and both factors are stored as roots.
    albedo_rough = vec4(root_albedo * tile.rgb, rough_part.x);
    normal_part = vec4(normalize(gl_FrontFacing ? normal : -normal) * 0.5 + 0.5, rough_part.y);
    depth = 1.0 / gl_FragCoord.w;
}
