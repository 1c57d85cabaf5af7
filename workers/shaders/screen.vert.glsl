#version 330
in vec2 in_corner;
out vec2 corner;
void main() {
    corner = in_corner;
    gl_Position = vec4(in_corner, 0.0, 1.0);
}
