#version 330
// Kept short: llvmpipe shades whole 4x4 blocks, of which a small triangle of a body uses a few samples.
// 8 bits hold k / 255 exactly, so a part number passes through an ordinary colour channel unharmed.
#ifndef PLAIN
uniform sampler2DArray textures;
in vec3 uv_layer;
#endif

in vec3 normal;
in vec3 ambient_root;
in vec3 sun_root;
flat in vec3 part_bare_rough;

layout(location = 0) out vec4 ambient_part;  // square root of linear light, relative
layout(location = 1) out vec4 sun_bare;      // likewise; 1 where the backdrop shows: shadow catchers, and nothing at all
layout(location = 2) out vec4 normal_rough;

void main() {
    // sRGB's curve lies close to a square, and both factors are stored as roots.
#ifdef PLAIN
    const vec4 tile = vec4(1.0);
#else
    vec4 tile = texture(textures, uv_layer);
#endif
#ifdef HOLES
    if (tile.a < 0.4) discard;  // below one half, as the smaller mipmaps of thin strands fade
#endif
    ambient_part = vec4(ambient_root * tile.rgb, part_bare_rough.x);
    sun_bare = vec4(sun_root * tile.rgb, part_bare_rough.y);
    normal_rough = vec4(normal * 0.5 + 0.5, part_bare_rough.z);
}
