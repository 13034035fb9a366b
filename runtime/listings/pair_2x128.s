# f32_panel_pair_2x128__avx512, per iteration: 16 FMAs + 2 vpbroadcastd: 9 cycles at 2 per cycle; 18 loads: 9 cycles at 2 per cycle. Bound: 9 cycles.
loop:
    mov (r0),r1
    mov 0x8(r0),r2
    vpbroadcastd r1d,z0
    shr $0x20,r1
    vfmadd231ps (r3,r1,1),z0,z1
    vfmadd231ps 0x40(r3,r1,1),z0,z2
    vfmadd231ps 0x80(r3,r1,1),z0,z3
    vfmadd231ps 0xc0(r3,r1,1),z0,z4
    vfmadd231ps 0x100(r3,r1,1),z0,z5
    vfmadd231ps 0x140(r3,r1,1),z0,z6
    vfmadd231ps 0x180(r3,r1,1),z0,z7
    vfmadd231ps 0x1c0(r3,r1,1),z0,z8
    vpbroadcastd r2d,z0
    shr $0x20,r2
    vfmadd231ps (r3,r2,1),z0,z9
    vfmadd231ps 0x40(r3,r2,1),z0,z10
    vfmadd231ps 0x80(r3,r2,1),z0,z11
    vfmadd231ps 0xc0(r3,r2,1),z0,z12
    vfmadd231ps 0x100(r3,r2,1),z0,z13
    vfmadd231ps 0x140(r3,r2,1),z0,z14
    vfmadd231ps 0x180(r3,r2,1),z0,z15
    vfmadd231ps 0x1c0(r3,r2,1),z0,z16
    add $0x10,r0
    cmp r4,r0
    jb loop
