#version 330
uniform mat4 map_from_ground;
in vec3 in_position;
void main() { gl_Position = map_from_ground * vec4(in_position, 1.0); }
